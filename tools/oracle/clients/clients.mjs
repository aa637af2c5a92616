// SPDX-License-Identifier: Apache-2.0
// node clients.mjs URL MODEL: openai for JavaScript and the ai SDK beside each other: chat, stream, tools, errors.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";

const [url, model] = process.argv.slice(2);
const messages = [{ role: "user", content: "Name three colors." }];
const schema = { type: "object", properties: { city: { type: "string", maxLength: 20 }, days: { type: "integer", minimum: 1, maximum: 9 } },
                 required: ["city", "days"], additionalProperties: false };

function fits(v) {
  assert.deepEqual(Object.keys(v).sort(), ["city", "days"]);
  assert.ok(typeof v.city === "string" && [...v.city].length <= 20 && Number.isInteger(v.days) && v.days >= 1 && v.days <= 9, JSON.stringify(v));
}

async function openai() {
  const c = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
  const ask = { model, messages, temperature: 0, max_tokens: 24 };
  assert.deepEqual((await c.models.list()).data.map((m) => m.id), [model]);
  const whole = await c.chat.completions.create(ask);
  const text = whole.choices[0].message.content;
  assert.ok(text.length > 0 && whole.usage.completion_tokens <= 24);
  let streamed = "", usage = null;
  for await (const k of await c.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
    streamed += k.choices[0]?.delta.content ?? "";
    usage = k.usage ?? usage;
  }
  assert.equal(streamed, text);
  assert.equal(usage.total_tokens, whole.usage.total_tokens);
  const tools = [{ type: "function", function: { name: "weather", parameters: schema } }];
  const call = { ...ask, max_tokens: 120, tools, tool_choice: "required" };
  const called = (await c.chat.completions.create(call)).choices[0];
  assert.equal(called.finish_reason, "tool_calls");
  for (const k of called.message.tool_calls) {
    assert.equal(k.function.name, "weather");
    fits(JSON.parse(k.function.arguments));
  }
  const last = await c.chat.completions.stream(call).finalChatCompletion(); // the client itself puts the pieces together
  const what = (m) => m.tool_calls.map((k) => [k.function.name, k.function.arguments]);
  assert.deepEqual(what(last.choices[0].message), what(called.message));
  const result = called.message.tool_calls.map((k) => ({ role: "tool", tool_call_id: k.id, content: "rain" }));
  const after = await c.chat.completions.create({ ...ask, tools, tool_choice: "none", messages: [...messages, called.message, ...result] });
  assert.ok(after.choices[0].message.content);
  const form = { type: "json_schema", json_schema: { name: "trip", schema, strict: true } };
  const held = await c.chat.completions.create({ ...ask, max_tokens: 120, response_format: form });
  fits(JSON.parse(held.choices[0].message.content));
  await assert.rejects(c.chat.completions.create({ ...ask, temperature: 3 }), (e) => e instanceof OpenAI.BadRequestError && e.param === "temperature");
  await assert.rejects(c.chat.completions.create({ ...ask, model: "other" }), (e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
  await assert.rejects(c.chat.completions.create({ ...ask, max_tokens: 3, response_format: form }),
                       (e) => e instanceof OpenAI.BadRequestError && e.param === "max_tokens");
  return text;
}

async function ai(want) {
  const provider = createOpenAICompatible({ name: "lmfast", baseURL: url, includeUsage: true });
  const ask = { model: provider(model), messages, temperature: 0, maxOutputTokens: 24, maxRetries: 0 };
  const whole = await generateText(ask);
  assert.equal(whole.text, want);
  assert.ok(whole.usage.outputTokens > 0);
  const stream = streamText(ask);
  let streamed = "", n = 0;
  for await (const k of stream.textStream) {
    streamed += k;
    n++;
  }
  assert.ok(n > 1);
  assert.equal(streamed, want);
  assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
  const seen = [];
  const weather = tool({ description: "The weather", inputSchema: jsonSchema(schema), execute: async (v) => (seen.push(v), "rain") });
  const call = { ...ask, maxOutputTokens: 120, tools: { weather }, toolChoice: "required" };
  const called = await generateText({ ...call, stopWhen: stepCountIs(1) });
  assert.ok(called.toolCalls.length > 0 && called.toolCalls.every((k) => k.toolName === "weather" && !k.invalid));
  const pieces = streamText({ ...call, stopWhen: stepCountIs(1) });
  await pieces.consumeStream();
  const inputs = (list) => list.map((k) => k.input);
  assert.deepEqual(inputs(await pieces.toolCalls), inputs(called.toolCalls));
  assert.equal(seen.length, 2 * called.toolCalls.length);
  seen.forEach(fits);
  const two = await generateText({ ...call, toolChoice: "auto", stopWhen: stepCountIs(2) }); // with the result, if it called
  assert.ok(two.steps.length >= 1 && two.toolCalls.every((k) => !k.invalid));
  const bad = (ask, status) => assert.rejects(generateText(ask), (e) => APICallError.isInstance(e) && e.statusCode === status && /./.test(e.message));
  await bad({ ...ask, temperature: 3 }, 400);
  await bad({ ...ask, model: provider("other") }, 404);
}

const text = await openai();
await ai(text);
console.log("openai and ai: chat, stream, tools and errors as they expect them");
