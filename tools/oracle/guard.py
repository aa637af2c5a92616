#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --program {build}/lmfast --texts 3000
"""lmfast guard beside faker, python-stdnum and phonenumbers (in a virtual environment of their own): texts of 30 countries with one entity
each at a known place, and texts whose numbers are none. Recall and precision by entity, with Wilson's 95 % interval; a value counts as
found when the finding has its entity and its very place.

    guard.py --program build/release/lmfast --texts 20000 --json figures.json"""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECALL, PRECISION = 0.995, 0.99
MAKER = r'''
import json, random, sys
import phonenumbers
from faker import Faker
from stdnum import iban, luhn
from stdnum.gb import nhs
from stdnum.us import itin, rtn, ssn
LOCALES = """ar_SA bg_BG cs_CZ da_DK de_AT de_CH de_DE el_GR en_AU en_CA en_GB en_IN en_NZ en_US es_ES es_MX fi_FI fr_FR hu_HU it_IT ja_JP
nl_BE nl_NL no_NO pl_PL pt_BR pt_PT sk_SK sv_SE tr_TR""".split()
seed, n = int(sys.argv[1]), int(sys.argv[2])
random.seed(seed)
fakes = []
for i, l in enumerate(LOCALES):
    fakes.append((l, Faker(l)))
    fakes[-1][1].seed_instance(seed + i)
digits = lambda n: "".join(random.choice("0123456789") for _ in range(n))

def grouped(s, sizes, by):
    out, at = [], 0
    for k in sizes:
        out.append(s[at:at + k]); at += k
    return by.join(out)

def card(l, f):
    s = f.credit_card_number()
    return random.choice([s, grouped(s, [4, 4, 4, len(s) - 12], random.choice(" -")) if len(s) == 16 else s])

def account(l, f):
    s = f.iban()
    while not iban.is_valid(s, check_country=False): # some of faker's countries have another length
        s = random.choice(fakes)[1].iban()
    return random.choice([s, iban.format(s)])

def social(l, f):
    while True:
        s = "%03d%02d%04d" % (random.randint(1, 899), random.randint(1, 99), random.randint(1, 9999))
        if ssn.is_valid(s): return grouped(s, [3, 2, 4], "-")

def taxpayer(l, f):
    while True:
        s = "9" + digits(8)
        if itin.is_valid(s): return grouped(s, [3, 2, 4], "-")

def patient(l, f):
    while True:
        s = digits(10)
        if nhs.is_valid(s): return random.choice([s, grouped(s, [3, 3, 4], " ")])

def bank(l, f):
    while True:
        s = digits(9)
        if rtn.is_valid(s) and s[0] in "012367": 
            two = int(s[:2])
            if two <= 12 or 21 <= two <= 32 or 61 <= two <= 72: return s

def phone(l, f):
    country = l[3:]
    number = phonenumbers.example_number(country)
    while True: # other digits behind, as long as the country's plan has them
        s = str(number.national_number)
        tail = random.randint(2, min(6, len(s) - 3))
        other = phonenumbers.PhoneNumber(country_code=number.country_code, national_number=int(s[:-tail] + digits(tail)))
        if phonenumbers.is_valid_number(other): break
    form = phonenumbers.PhoneNumberFormat
    return phonenumbers.format_number(other, random.choice([form.E164, form.INTERNATIONAL]))

def us_phone(l, f):
    s = random.choice("23456789") + random.choice("01234568") + random.choice("0123456789") + random.choice("23456789") + digits(6)
    return random.choice(["(%s) %s-%s", "%s-%s-%s", "%s.%s.%s"]) % (s[:3], s[3:6], s[6:])

def imei(l, f):
    s = random.choice(["01", "35", "86", "99"]) + digits(12) # bodies that give them out
    return s + luhn.calc_check_digit(s)

def vin(l, f):
    return f.vin()

def key(l, f):
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    some = lambda n, a=alphabet: "".join(random.choice(a) for _ in range(n))
    return random.choice(["sk-" + some(48), "ghp_" + some(36), "AKIA" + some(16, alphabet[26:]), "AIza" + some(35), "hf_" + some(34),
        "xoxb-" + digits(12) + "-" + some(24)])

KINDS = {
    "EMAIL_ADDRESS": (lambda l, f: f.email(), ["Write to %s please.", "%s", "from <%s>, on Monday", "mailto:%s", "(%s)"]),
    "CREDIT_CARD": (card, ["Pay with %s today.", "card no. %s, exp 12/29", "%s", "Karte: %s."]),
    "IBAN_CODE": (account, ["Konto %s.", "IBAN: %s", "please pay to %s by Friday", "(%s)"]),
    "US_SSN": (social, ["SSN %s.", "my social security number is %s, ok?", "%s"]),
    "US_ITIN": (taxpayer, ["ITIN %s.", "%s is what the IRS gave me"]),
    "UK_NHS": (patient, ["NHS number %s.", "the patient's NHS no is %s, please"]),
    "ABA_ROUTING_NUMBER": (bank, ["routing number %s.", "ABA %s, account below"]),
    "IP_ADDRESS": (lambda l, f: random.choice([f.ipv4(), f.ipv6()]), ["Host %s is down.", "from %s, port 80", "[%s]", "ip=%s;"]),
    "MAC_ADDRESS": (lambda l, f: f.mac_address(), ["card %s.", "%s seen", "ether %s txqueuelen"]),
    "URL": (lambda l, f: f.uri(), ["See %s for more.", "(%s)", "%s", "at %s, they say"]),
    "PHONE_NUMBER": (lambda l, f: us_phone(l, f) if random.random() < 0.3 else phone(l, f), ["Call %s now.", "%s", "T: %s, office",
        "(%s)"]),
    "IMEI": (imei, ["IMEI %s.", "the device %s was lost"]),
    "VIN": (vin, ["the car %s was sold", "VIN: %s."]),
    "API_KEY": (key, ["export TOKEN=%s", "the key is %s.", "%s"]),
}
NONE = [lambda f: "Order %s of %s was %s.%s EUR." % (digits(7), f.date(), digits(2), digits(2)),
    lambda f: "Version %s.%s.%s, build %s" % (digits(1), digits(2), digits(1), digits(5)),
        lambda f: "ISBN %s" % f.isbn13(), lambda f: "%s %s" % (f.sentence(), f.year()), lambda f: "at %s on %s" % (f.time(), f.date()),
            lambda f: f.paragraph(),
        lambda f: "%s, %s" % (f.street_address().replace("\n", ", "), f.postcode() if hasattr(f, "postcode") else ""),
            lambda f: f.text(120),
        lambda f: "score %s:%s, ratio %s/%s, %s%%" % (digits(1), digits(1), digits(2), digits(3), digits(2)),
            lambda f: "commit %s" % f.sha1(), lambda f: "id %s" % f.uuid4(),
        lambda f: "x = [%s]" % ", ".join(digits(random.randint(1, 6)) for _ in range(6)), lambda f: "EAN %s, lot %s" % (f.ean13(),
            digits(8)), lambda f: "#" + digits(12)]
for i in range(n):
    locale, f = fakes[i % len(fakes)]
    if i % 5 == 4:
        print(json.dumps({"text": random.choice(NONE)(f).replace("\n", " ")}))
        continue
    entity = random.choice(list(KINDS))
    make, templates = KINDS[entity]
    value, template = make(locale, f), random.choice(templates)
    print(json.dumps({"text": template % value, "entity": entity, "begin": template.index("%s"), "value": value, "locale": locale}))
'''


def interval(good, n):
    """Wilson's, 95 %."""
    if not n:
        return 0.0, 1.0
    z, p = 1.96, good / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--program", required=True)
    p.add_argument("--texts", type=int, default=3000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json", type=pathlib.Path)
    p.add_argument("--show", type=int, default=3, help="mistakes of each entity that are printed")
    a = p.parse_args()
    python = subprocess.run([str(ROOT / "tools" / "venv.sh"), "guard"], capture_output=True, text=True, check=True).stdout.strip()
    rows = [json.loads(x) for x in subprocess.run([python, "-c", MAKER, str(a.seed), str(a.texts)], capture_output=True, text=True,
        check=True).stdout.splitlines()]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as f: # one text a line, and a line between, so that no words of one are another's
        f.write("".join(r["text"] + "\n" + "-" * 60 + "\n" for r in rows))
        f.flush()
        found = json.loads(subprocess.run([a.program, "guard", "check", f.name, "--json"], capture_output=True, text=True,
            check=True).stdout)
    by_line, starts, at = {}, [], 0
    for r in rows:
        starts.append(at)
        at += len(r["text"]) + 62
    for x in found["findings"]:
        by_line.setdefault((x["line"] - 1) // 2, []).append((x["entity"], x["begin_char"], x["end_char"], x["text"]))
    right, wanted, wrong, shown = {}, {}, {}, {}
    for i, r in enumerate(rows):
        begin = starts[i] + r.get("begin", 0)
        place = (r.get("entity"), begin, begin + len(r.get("value", "")))
        wanted[place[0]] = wanted.get(place[0], 0) + 1
        hit = False
        for x in by_line.get(i, []):
            if x[:3] == place:
                hit = True
                continue
            wrong[x[0]] = wrong.get(x[0], 0) + 1
            shown.setdefault("false " + x[0], []).append((x[3], r["text"]))
        right[place[0]] = right.get(place[0], 0) + hit
        if place[0] and not hit:
            shown.setdefault("missed " + place[0], []).append(r["text"])
    figures, n_bad = {}, 0
    print(f"{'entity':20} {'texts':>6} {'recall':>8} {'95 %':>15} {'false':>6} {'precision':>10} {'95 %':>15}")
    for e in sorted(k for k in wanted if k):
        n, good, false = wanted[e], right[e], wrong.get(e, 0)
        recall, precision = good / n, good / (good + false) if good + false else 0.0
        r, q = interval(good, n), interval(good, good + false)
        ok = r[1] >= RECALL and q[1] >= PRECISION
        n_bad += not ok
        figures[e] = {"texts": n, "recall": recall, "recall_95": r, "false": false, "precision": precision, "precision_95": q}
        print(f"{e:20} {n:6} {recall:8.4f} {r[0]:7.4f}-{r[1]:.4f} {false:6} {precision:10.4f} {q[0]:7.4f}-{q[1]:.4f}",
              "" if ok else "  BELOW")
    for e in sorted(set(wrong) - set(figures)):
        print(f"{e:20} {0:6} {'':8} {'':15} {wrong[e]:6}")
    for what in sorted(shown):
        for x in shown[what][:a.show]:
            print(f"  {what}: {x}")
    total, all_right, all_wrong = sum(v for k, v in wanted.items() if k), sum(v for k, v in right.items() if k), sum(wrong.values())
    print(f"all: {total} entities, recall {all_right / total:.4f}; {all_wrong} false, precision {all_right / (all_right + all_wrong):.4f};",
          wanted.get(None, 0), "texts without any")
    if a.json:
        a.json.write_text(json.dumps(figures, indent=1))
    print(f"guard: {len(figures) - n_bad} passed, {n_bad} failed")
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
