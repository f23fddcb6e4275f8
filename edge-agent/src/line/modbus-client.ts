/**
 * A Modbus TCP client: registers and coils of a PLC over one connection, one question at a time, since many PLCs take no second one.
 * In: addresses from 0 as on the wire. Out: values, or a KenpinError. MBAP header and function codes as in the MODBUS Messaging on TCP/IP
 * Implementation Guide V1.0b (3.1.3) and the MODBUS Application Protocol Specification V1.1b3 (6.1, 6.3, 6.12).
 * Whatever goes wrong ends the connection; the next question opens a new one. A question is never asked twice.
 */
import { connect, type Socket } from "node:net";
import { KenpinError } from "@kenpin/schema";

export type ModbusPlace = { host: string; port: number; unit: number; timeoutMs: number };
type Question = { id: number; code: number; resolve: (pdu: Buffer) => void; reject: (error: Error) => void };

const [READ_COILS, READ_HOLDING, WRITE_HOLDING] = [1, 3, 16];
const HEADER_BYTES = 7;
/** Of unit and PDU together: 1 + 253. */
const LENGTH_LIMIT = 254;
const EXCEPTIONS: Record<number, string> = {
  1: "it does not know this function",
  2: "it has no such address",
  3: "it takes no such value",
  4: "it failed",
  6: "it is busy",
};

export class ModbusClient {
  #place: ModbusPlace;
  #socket: Socket | null = null;
  #question: Question | null = null;
  #received = Buffer.alloc(0);
  #nextId = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(place: ModbusPlace) {
    this.#place = place;
  }

  async readRegisters(at: number, count: number): Promise<number[]> {
    const pdu = await this.#ask(READ_HOLDING, words(at, count), 1 + 2 * count);
    return Array.from({ length: count }, (_, i) => pdu.readUInt16BE(2 + 2 * i));
  }

  async readCoil(at: number): Promise<boolean> {
    const pdu = await this.#ask(READ_COILS, words(at, 1), 2);
    return ((pdu[2] as number) & 1) === 1;
  }

  async writeRegisters(at: number, values: readonly number[]): Promise<void> {
    await this.#ask(WRITE_HOLDING, Buffer.concat([words(at, values.length), Buffer.from([values.length * 2]), words(...values)]), 4);
  }

  close(): void {
    this.#isClosed = true;
    this.#drop(new KenpinError("modbus-closed", "the connection to the PLC was closed by the agent"));
  }

  /** The answer's PDU, whose function code was checked and which has `bytes` after it. */
  #ask(code: number, data: Buffer, bytes: number): Promise<Buffer> {
    const answered = this.#turn.then(() => this.#exchange(code, data));
    this.#turn = answered.catch(() => undefined);
    return answered.then((pdu) => {
      if (pdu.length === 1 + bytes) return pdu;
      const error = fault(this.#place, `its answer has ${pdu.length - 1} bytes, expected ${bytes}`);
      this.#drop(error);
      throw error;
    });
  }

  async #exchange(code: number, data: Buffer): Promise<Buffer> {
    if (this.#isClosed) throw new KenpinError("modbus-closed", "the connection to the PLC was closed by the agent");
    const late = setTimeout(() => this.#drop(fault(this.#place, `no answer within ${this.#place.timeoutMs} ms`)), this.#place.timeoutMs);
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    this.#nextId = (this.#nextId + 1) & 0xffff;
    this.#question = { id: this.#nextId, code, resolve, reject };
    try {
      this.#socket ??= this.#connect();
      const header = Buffer.alloc(HEADER_BYTES);
      header.writeUInt16BE(this.#nextId, 0); // transaction; the protocol after it is 0
      header.writeUInt16BE(2 + data.length, 4);
      header.writeUInt8(this.#place.unit, 6);
      this.#socket.write(Buffer.concat([header, Buffer.from([code]), data]));
      return await promise;
    } finally {
      clearTimeout(late);
      this.#question = null;
    }
  }

  #connect(): Socket {
    const { host, port } = this.#place;
    const socket = connect({ host, port, noDelay: true });
    socket.on("data", (chunk: Buffer) => {
      if (socket === this.#socket) this.#read(chunk);
    });
    socket.on("error", (error) => this.#lost(socket, error.message));
    socket.on("close", () => this.#lost(socket, "it closed the connection"));
    return socket;
  }

  #read(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    if (this.#received.length < HEADER_BYTES) return;
    const length = this.#received.readUInt16BE(4);
    if (this.#received.readUInt16BE(2) !== 0 || length < 3 || length > LENGTH_LIMIT) {
      this.#drop(fault(this.#place, "what it says is no Modbus"));
      return;
    }
    if (this.#received.length < 6 + length) return;
    const [id, pdu] = [this.#received.readUInt16BE(0), this.#received.subarray(HEADER_BYTES, 6 + length)];
    this.#received = this.#received.subarray(6 + length);
    this.#take(id, pdu);
  }

  #take(id: number, pdu: Buffer): void {
    const question = this.#question;
    const code = pdu[0] as number;
    if (!question || id !== question.id || (code & 0x7f) !== question.code) {
      this.#drop(fault(this.#place, "it answered something that was not asked"));
    } else if (code & 0x80) {
      const exception = pdu[1] ?? 0;
      const why = EXCEPTIONS[exception] ?? "it says no more";
      question.reject(new KenpinError("modbus-refused", `the PLC at ${at(this.#place)} refused: ${why} (exception ${exception})`));
    } else question.resolve(pdu);
  }

  #lost(socket: Socket, why: string): void {
    if (socket === this.#socket) this.#drop(fault(this.#place, why));
  }

  #drop(error: KenpinError): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#received = Buffer.alloc(0);
    socket?.destroy();
    this.#question?.reject(error);
  }
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [i, value] of values.entries()) bytes.writeUInt16BE(value, 2 * i);
  return bytes;
}

function fault(place: ModbusPlace, why: string): KenpinError {
  return new KenpinError("modbus-unreachable", `the PLC at ${at(place)}: ${why}`);
}

function at({ host, port }: ModbusPlace): string {
  return `${host}:${port}`;
}
