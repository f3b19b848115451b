// The openai SDK on node: plain, streamed, tools, one big request.
import { createRequire } from 'node:module';
const OpenAI = createRequire(process.env.NODE_HOME + '/')('openai');

const client = new OpenAI({ baseURL: process.env.BASE_URL + '/v1', apiKey: 'sk-canary-node', maxRetries: 1 });
const say = (content) => [{ role: 'user', content }];
const drain = async (stream) => { for await (const _ of await stream) { /* read it all */ } };

await client.chat.completions.create({ model: 'gpt-4o', messages: say('plain') });
await drain(client.chat.completions.create({ model: 'gpt-4o', messages: say('stream'), stream: true, stream_options: { include_usage: true } }));
await client.chat.completions.create({ model: 'gpt-4o', messages: say('tool') });
await client.chat.completions.create({ model: 'gpt-4o', messages: say('big ' + 'x'.repeat(3 << 20)) });
await drain(client.chat.completions.create({ model: 'gpt-4o', messages: say('chunks=300'), stream: true, stream_options: { include_usage: true } }));
await client.responses.create({ model: 'gpt-5', input: 'plain' });
await drain(client.responses.create({ model: 'gpt-5', input: 'tool', stream: true }));
await client.embeddings.create({ model: 'text-embedding-3-small', input: 'text', encoding_format: 'float' });
