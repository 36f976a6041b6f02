// Each client does its job against the gateway at argv[2] and prints one line of JSON; the Python test judges it.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import { EventSource } from "eventsource";
import { createEventSource } from "eventsource-client";
import OpenAI from "openai";

const [, , which, base, generation] = process.argv;
const question = { model: "mixed", messages: [{ role: "user", content: "go" }] };
const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey: "unused", maxRetries: 0 });
const events = `${base}/v1/generations/${generation}/events`;

const clients = {
  async "openai-stream"() {
    let text = "";
    for await (const chunk of await openai.chat.completions.create({ ...question, stream: true })) {
      text += chunk.choices[0]?.delta?.content ?? "";
    }
    return { text };
  },
  async "openai-whole"() {
    const answer = await openai.chat.completions.create(question);
    return { text: answer.choices[0].message.content, reason: answer.choices[0].finish_reason };
  },
  async "openai-abort"() {
    const stream = await openai.chat.completions.create({ ...question, model: "endless", stream: true });
    for await (const _ of stream) stream.controller.abort();
    return { aborted: stream.controller.signal.aborted };
  },
  async "openai-errors"() {
    const caught = [];
    for (const model of ["nowhere", "limited", "broken"]) {
      try {
        for await (const _ of await openai.chat.completions.create({ ...question, model, stream: true }));
      } catch (error) {
        caught.push([error.constructor.name, error.status ?? null, error.code ?? null]);
      }
    }
    return { caught };
  },
  async "ai-stream"() {
    const provider = createOpenAICompatible({ name: "dazi", baseURL: `${base}/v1` });
    const result = streamText({ model: provider("mixed"), prompt: "go" });
    let text = "";
    for await (const piece of result.textStream) text += piece;
    return { text, reason: await result.finishReason, reasoning: (await result.reasoningText) ?? "" };
  },
  async "ai-whole"() {
    const provider = createOpenAICompatible({ name: "dazi", baseURL: `${base}/v1` });
    const { text } = await generateText({ model: provider("mixed"), prompt: "go" });
    return { text };
  },
  eventsource() {
    return new Promise((resolve) => {
      let text = "";
      const source = new EventSource(`${events}?max=1`);
      source.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        if (event.type === "text") text += event.text;
      };
      source.onerror = (error) => {
        if (error.code === 204) resolve({ text, closed: source.readyState === EventSource.CLOSED });
      };
    });
  },
  async "eventsource-client"() {
    let text = "";
    const source = createEventSource({ url: `${events}?max=1` });
    for await (const { data } of source) {
      const event = JSON.parse(data);
      if (event.type === "text") text += event.text;
      if (event.type === "done") break;
    }
    source.close();
    return { text };
  },
};

console.log(JSON.stringify(await clients[which]()));
