// Every call of `dify-client`, the official client on npm.

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

const { ChatClient, CompletionClient, DifyClient } = await import(pathToFileURL(process.env.CLIENT));
const HOUSE = JSON.parse(process.env.HOUSE);
const NOWHERE = "00000000-0000-4000-8000-000000000000";
const made = new Set();

function tell(call, how, absent, fault) {
  process.stdout.write(JSON.stringify({ call, how, absent, fault }) + "\n");
}

async function calls(call, how, check, absent = "") {
  made.add(call);
  try {
    await check();
    tell(call, how, absent, "");
  } catch (error) {
    tell(call, how, absent, `${error.stack}\n${JSON.stringify(error.response?.data ?? null)}`);
  }
}

const connect = (kind, key) => new kind(HOUSE.keys[key], HOUSE.base_url);

async function refused(promise, status, code) {
  const error = await promise.then(() => assert.fail("it was not refused"), (reason) => reason);
  assert.deepEqual([error.response?.status, error.response?.data.code], [status, code]);
}

// As the client's own manual reads a stream: piece by piece, by lines.
async function eventsOf(response) {
  const decoder = new TextDecoder();
  const events = [];
  let rest = "";
  for await (const piece of response.data) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) events.push(JSON.parse(line.slice(6)));
  }
  return events;
}

const textOf = (events, kind = "message") => events.filter((e) => e.event === kind).map((e) => e.answer).join("");

const chat = connect(ChatClient, "chat");
const completion = connect(CompletionClient, "completion");
let answer = {};

const history = async (...more) => (await chat.getConversationMessages("ada", answer.conversation_id, ...more)).data.data;

await calls("ChatClient.createChatMessage", "blocking", async () => {
  answer = (await chat.createChatMessage({}, "one", "ada")).data;
  assert.equal(answer.answer, HOUSE.answer);
});
await calls("ChatClient.createChatMessage", "streaming", async () => {
  const events = await eventsOf(await chat.createChatMessage({}, "hello", "ada", true));
  assert.equal(textOf(events), HOUSE.answer);
  assert.equal(events.at(-1).event, "message_end");
});
await calls("ChatClient.createChatMessage", "streaming, of an agent", async () => {
  const agent = connect(ChatClient, "agent-chat");
  const events = await eventsOf(await agent.createChatMessage({}, "hello", "ada", true));
  assert.equal(textOf(events, "agent_message"), HOUSE.answer);
});
await calls("ChatClient.createChatMessage", "streaming, of an agent whose tools make files", async () => {
  const events = await eventsOf(await connect(ChatClient, "acting").createChatMessage({}, "hello", "ada", true));
  const thoughts = new Map(events.filter((e) => e.event === "agent_thought").map((e) => [e.id, e.message_files]));
  const [file] = events.filter((e) => e.event === "message_file");
  assert.deepEqual([...thoughts.values()], [[file.id], []]);
});
await calls("ChatClient.createChatMessage", "in a conversation that there is", async () => {
  for (const query of ["two", "three"]) {
    const { data } = await chat.createChatMessage({}, query, "ada", false, answer.conversation_id);
    assert.equal(data.conversation_id, answer.conversation_id);
  }
});
await calls("ChatClient.createChatMessage", "in a conversation that there is not", () =>
  refused(chat.createChatMessage({}, "hello", "ada", false, NOWHERE), 404, "not_found"));
await calls("ChatClient.createChatMessage", "with a wrong key", () =>
  refused(connect(ChatClient, "wrong").createChatMessage({}, "hello", "ada"), 401, "unauthorized"));
await calls("ChatClient.createChatMessage", "streaming, with a provider that fails", async () => {
  const events = await eventsOf(await chat.createChatMessage({}, HOUSE.failing, "ada", true));
  assert.deepEqual([events.at(-1).event, events.at(-1).code], ["error", "completion_request_error"]);
});
await calls("ChatClient.getConversationMessages", "", async () => {
  assert.deepEqual((await history()).map((message) => message.query), ["one", "two", "three"]);
});
await calls("ChatClient.getConversationMessages", "page by page", async () => {
  const newest = await history(null, 2);
  const older = await history(newest[0].id, 2);
  assert.deepEqual([...older, ...newest].map((message) => message.query), ["one", "two", "three"]);
});
await calls("ChatClient.getConversations", "", async () => {
  const { data } = await chat.getConversations("ada");
  assert.ok(data.data.some((entry) => entry.id === answer.conversation_id));
});
await calls("ChatClient.getConversations", "with everything that it can send", async () => {
  const { data } = await chat.getConversations("ada", answer.conversation_id, 1, true);
  assert.deepEqual([data.limit, data.data.length], [1, 1]);
});
for (const rating of ["like", "dislike", null]) {
  await calls("DifyClient.messageFeedback", String(rating), async () => {
    assert.deepEqual((await chat.messageFeedback(answer.message_id, rating, "ada")).data, { result: "success" });
    assert.deepEqual((await history())[0].feedback, rating && { rating });
  });
}
await calls("ChatClient.renameConversation", "by hand", async () => {
  const { data } = await chat.renameConversation(answer.conversation_id, "Numbers", "ada", false);
  assert.deepEqual([data.id, data.name], [answer.conversation_id, "Numbers"]);
});
await calls("ChatClient.renameConversation", "by the server", async () => {
  const { data } = await chat.renameConversation(answer.conversation_id, null, "ada", true);
  assert.ok(data.name);
});
await calls("DifyClient.getApplicationParameters", "", async () => {
  const { data } = await chat.getApplicationParameters("ada");
  assert.equal(data.opening_statement, HOUSE.opening_statement);
});
let uploaded = {};
await calls("DifyClient.fileUpload", "", async () => {
  const form = new FormData();
  form.append("user", "ada");
  form.append("file", new Blob([Buffer.from(HOUSE.image, "hex")], { type: "image/png" }), "dot.png");
  const response = await chat.fileUpload(form);
  uploaded = response.data;
  assert.deepEqual([response.status, uploaded.name, uploaded.mime_type], [201, "dot.png", "image/png"]);
});
await calls("ChatClient.createChatMessage", "with a file", async () => {
  const given = { type: "image", transfer_method: "local_file", upload_file_id: uploaded.id };
  const seen = (await chat.createChatMessage({}, "look", "ada", false, null, [given])).data;
  const [message] = (await chat.getConversationMessages("ada", seen.conversation_id)).data.data;
  assert.deepEqual(message.message_files.map((file) => file.type), ["image"]);
});
await calls("ChatClient.deleteConversation", "", async () => {
  const response = await chat.deleteConversation(answer.conversation_id, "ada");
  assert.equal(response.status, 204);
  await refused(history(), 404, "not_found");
});
await calls("CompletionClient.createCompletionMessage", "blocking", async () => {
  const { data } = await completion.createCompletionMessage({}, "ada");
  assert.deepEqual([data.answer, data.mode], [HOUSE.answer, "completion"]);
});
await calls("CompletionClient.createCompletionMessage", "streaming", async () => {
  assert.equal(textOf(await eventsOf(await completion.createCompletionMessage({}, "ada", true))), HOUSE.answer);
});
await calls("CompletionClient.runWorkflow", "", () =>
  refused(completion.runWorkflow({}, "ada"), 404, "not_found"), "workflows");
await calls("DifyClient.updateApiKey", "", async () => {
  const client = connect(DifyClient, "wrong");
  client.updateApiKey(HOUSE.keys.chat);
  assert.equal((await client.getApplicationParameters("ada")).status, 200);
});
await calls("DifyClient.sendRequest", "any route", async () => {
  assert.equal((await chat.sendRequest("GET", "/info")).data.mode, "chat");
});

for (const kind of [DifyClient, CompletionClient, ChatClient]) {
  for (const name of Object.getOwnPropertyNames(kind.prototype)) {
    const call = `${kind.name}.${name}`;
    if (name !== "constructor" && !made.has(call)) tell(call, "", "", "the driver does not make this call");
  }
}
