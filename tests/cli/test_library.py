# SPDX-License-Identifier: Apache-2.0
"""liblmfast as another project meets it: headers that compile alone, an installed tree that pkg-config and CMake find, and the examples,
built against it and beside the command."""
import json
import os
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT
from test_generate import write_gguf
from test_train import ROWS, digest, model  # noqa: F401  (a fixture)

sys.path.insert(0, str(ROOT / "tools"))
import headers  # noqa: E402

SANITIZED = "san" in BUILD.name
PRELUDE = ("#include <stdio.h>\n#include <string.h>\n#include <lmfast/lmfast.h>\n"
           "int usage(lmfast_context *ctx, lmfast_model *model, lmfast_engine *engine, lmfast_dataset *rows,\n"
           "lmfast_settings *settings);\n"
           "int usage(lmfast_context *ctx, lmfast_model *model, lmfast_engine *engine, lmfast_dataset *rows,\n"
           "lmfast_settings *settings)\n{\n"
           "    (void)ctx, (void)model, (void)engine, (void)rows, (void)settings;\n    {\n%s\n    }\n    return 0;\n}\n")


def run(*command, **options):
    options.setdefault("timeout", 120)
    return subprocess.run([str(c) for c in command], stdin=options.pop("stdin", subprocess.DEVNULL), capture_output=True, text=True,
                          **options)


def compiles(source, *flags, compiler="cc"):
    r = run(compiler, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I", ROOT / "include", *flags, source)
    assert r.returncode == 0, r.stderr


@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "include/lmfast").glob("*.h")))
def test_each_header_stands_alone_and_its_usage_compiles(name, tmp_path):
    api = headers.read()
    code = headers.usage(api.headers[name])
    assert "lmfast_" in code, "a header opens with a usage"
    for suffix, compiler, flags in ((".c", "cc", ["-std=c17"]), (".cpp", "c++", ["-std=c++17"])):
        alone = tmp_path / f"alone{suffix}"
        alone.write_text(f"#include <lmfast/{name}>\nint main(void) {{ return 0; }}\n")
        compiles(alone, *flags, compiler=compiler)
    used = tmp_path / "usage.c"
    used.write_text(PRELUDE % code)
    compiles(used, "-std=c17")


def test_a_usage_that_is_wrong_is_seen(tmp_path):
    used = tmp_path / "usage.c"
    used.write_text(PRELUDE % "lmfast_model_open(ctx, 3);")
    assert run("cc", "-fsyntax-only", "-I", ROOT / "include", used).returncode != 0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_gguf(path)
    return path


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """make install into a folder of its own."""
    prefix = tmp_path_factory.mktemp("prefix")
    r = run("cmake", "--install", BUILD, "--prefix", prefix)
    assert r.returncode == 0, r.stderr
    library = next(prefix.rglob("liblmfast.so"))
    return prefix, library.parent


@pytest.mark.skipif(SANITIZED, reason="a sanitized library wants its runtime first")
def test_installed_for_pkg_config_and_cmake(installed, tiny, tmp_path):
    prefix, library = installed
    env = {**os.environ, "PKG_CONFIG_PATH": str(library / "pkgconfig"), "LD_LIBRARY_PATH": str(library)}
    flags = run("pkg-config", "--cflags", "--libs", "lmfast", env=env)
    assert flags.returncode == 0, flags.stderr
    r = run("cc", ROOT / "examples/generate.c", *flags.stdout.split(), "-o", tmp_path / "by_pkg_config")
    assert r.returncode == 0, r.stderr
    project = tmp_path / "project"
    project.mkdir()
    (project / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.20)\nproject(user C)\nfind_package(lmfast 0.4 REQUIRED)\n"
                                            f"add_executable(user {ROOT}/examples/generate.c)\n"
                                            "target_link_libraries(user lmfast::lmfast)\n")
    r = run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    assert r.returncode == 0, r.stderr
    r = run("cmake", "--build", project / "build")
    assert r.returncode == 0, r.stdout
    said = [run(p, tiny, "hello", env=env) for p in (tmp_path / "by_pkg_config", project / "build" / "user")]
    assert said[0].returncode == 0 and said[0].stdout == said[1].stdout and "written]" in said[0].stdout, said[0].stderr


def test_example_generate_says_what_the_command_says(lmfast, tiny):
    r = run(BUILD / "example_generate", tiny, "hello there")
    c = lmfast("generate", "-m", tiny, "-p", "hello there", "--raw", "-t", 0, "-n", 32, "--json")
    assert r.returncode == 0 and c.returncode == 0, r.stderr + c.stderr
    answer = json.loads(c.stdout)
    assert r.stdout == f"{answer['text']}\n[{answer['prompt_tokens']} tokens of prompt, {answer['completion_tokens']} written]\n"


def test_example_chat_remembers(lmfast, tiny):
    r = subprocess.run([BUILD / "example_chat", tiny], input="hello\n\nand more?\n", capture_output=True, text=True, timeout=120)
    c = subprocess.run([lmfast.path, "chat", "-m", tiny, "-t", "0", "-n", "64", "-s", "You are a helpful assistant.", "--quiet"],
                       input="hello\nand more?\n", capture_output=True, text=True, timeout=120)
    assert r.returncode == 0 and c.returncode == 0, r.stderr + c.stderr
    assert r.stdout == c.stdout and len(r.stdout) > 20


def test_example_finetune_gives_the_command_s_adapter(lmfast, model, tmp_path):  # noqa: F811
    r = run(BUILD / "example_finetune", model, ROWS, 3, tmp_path / "a")
    c = lmfast("train", "-m", model, "-d", ROWS, "-o", tmp_path / "b", "--max-steps", 3, "-b", 8, "--lr", "1e-3", "--quiet")
    assert r.returncode == 0 and c.returncode == 0, r.stderr + c.stderr
    assert r.stdout.count("step ") == 3 and digest(tmp_path / "a") == digest(tmp_path / "b")
    again = run(BUILD / "example_finetune", model, ROWS, 3, tmp_path)  # a folder of others
    assert again.returncode == 0 and run(BUILD / "example_finetune", model, ROWS, "x", tmp_path / "c").returncode == 1


@pytest.mark.parametrize("arguments, words", [
    (["nothing.gguf", "x"], "nothing.gguf"),
    ([ROOT / "README.md", "x"], "README.md"),
    ([ROOT, "x"], str(ROOT)),
])
def test_example_generate_says_what_is_wrong(arguments, words):
    r = run(BUILD / "example_generate", *arguments)
    assert r.returncode == 1 and words in r.stderr and r.stdout == "", r.stderr


def test_threads_and_lifetimes(tiny):
    """8 threads at once and handles made and destroyed in any order: the same answers, each thread its own sentence, nothing kept."""
    r = run(BUILD / "driver_api", tiny, 60, 12, timeout=300)
    said = json.loads(r.stdout)
    assert r.returncode == 0 and said["wrong"] == 0 and said["bytes_after"] == said["bytes_before"], (said, r.stderr)
    assert SANITIZED or said["late_kb"] - said["early_kb"] < 1024, said


@pytest.mark.skipif(SANITIZED, reason="a sanitized library wants its runtime first")
def test_a_program_that_is_older_or_newer_than_the_library(tiny, tmp_path):
    """Structs of other sizes: a shorter one has the rest at its defaults, a longer one is refused by name, one without a size too."""
    source = tmp_path / "old.c"
    source.write_text("""#include <stdio.h>
#include <lmfast/lmfast.h>
int main(int argc, char **argv)
{
    lmfast_context *ctx; lmfast_model *m; lmfast_engine *e = NULL;
    if (argc != 2 || lmfast_context_create(&ctx) || lmfast_model_open(ctx, argv[1], NULL, &m)) return 1;
    struct { size_t struct_bytes; const char *device; int max_sessions; } old = { sizeof old, NULL, 1 };
    struct { lmfast_engine_opts o; long more; } newer = { lmfast_engine_opts_default(), 0 };
    newer.o.struct_bytes = sizeof newer;
    lmfast_engine_opts none = { 0 };
    struct { size_t struct_bytes; const char *path; } info = { sizeof info, NULL };
    printf("%d ", lmfast_engine_create(m, (lmfast_engine_opts *)&old, &e));
    printf("%d %s / ", lmfast_engine_create(m, &newer.o, &e), lmfast_error(ctx));
    printf("%d %s / ", lmfast_engine_create(m, &none, &e), lmfast_error(ctx));
    int status = lmfast_model_get_info(m, (lmfast_model_info *)&info);
    printf("%d %s\\n", status, info.path);
    return 0;
}
""")
    flags = ["-I", ROOT / "include", "-L", BUILD, "-llmfast", f"-Wl,-rpath,{BUILD}"]
    r = run("cc", "-Wno-array-bounds", "-Wno-stringop-overflow", source, *flags, "-o", tmp_path / "old")
    assert r.returncode == 0, r.stderr
    said = run(tmp_path / "old", tiny).stdout
    old, newer, none = said.split(" / ")
    assert old.startswith("0 -4 lmfast_engine_opts has ") and "built with a newer header" in old
    assert newer.startswith("-4 lmfast_engine_opts has no struct_bytes") and none == f"0 {tiny}\n", said
