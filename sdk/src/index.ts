export { createClient, type Client, type ClientOptions, type Following, type Update } from './client.js'
export { createSseParser, EventTooLarge, type Chunk, type ServerSentEvent, type SseParser } from './sse.js'
export { createTypewriter, type Frame, type Typewriter } from './typewriter.js'
export { createUtf8Decoder, type Utf8Decoder } from './utf8.js'
