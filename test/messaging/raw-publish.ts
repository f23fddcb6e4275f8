/** Publishes bytes that no client of ours would: MQTT 3.1.1 by hand (CONNECT, PUBLISH at QoS 0, DISCONNECT). */
import { once } from "node:events";
import { connect } from "node:net";

export async function publishRaw(url: string, topic: string, payload: Uint8Array): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  // Section 3.1: protocol name, level 4, clean session, keep-alive 60 s, an empty client id
  socket.write(packet(0x10, Buffer.concat([text("MQTT"), Buffer.of(4, 2, 0, 60), text("")])));
  await once(socket, "data");
  socket.write(packet(0x30, Buffer.concat([text(topic), payload])));
  socket.end(packet(0xe0, Buffer.alloc(0)));
  await once(socket, "close");
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]);
}

/** Fixed header with the remaining length in groups of seven bits (section 2.2.3). */
function packet(type: number, body: Buffer): Buffer {
  const length: number[] = [];
  for (let left = body.length; length.length === 0 || left > 0; left >>= 7) length.push((left & 127) | (left > 127 ? 128 : 0));
  return Buffer.concat([Buffer.of(type, ...length), body]);
}
