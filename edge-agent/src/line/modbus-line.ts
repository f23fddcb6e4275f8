/**
 * A station's handshake with a PLC that serves Modbus TCP. The agent reads the trigger and writes one block of four holding registers,
 * always whole, so that a PLC never sees a result beside another part's id:
 *   output + 0  trigger id that the result belongs to
 *   output + 1  result: 0 none yet, 1 pass, 2 fail, 3 unknown
 *   output + 2  READY: 1 or 0
 *   output + 3  heartbeat, rising while everything lives (see pulse.ts)
 * A trigger is a new value other than 0 in the trigger register or, where a coil is named, that coil's rise, with its id in the register.
 * One that was set while nobody looked is of unknown age: it is answered unknown, since the part may have passed.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { errorLine, type ModbusLineConfig, type StationAnswer } from "@kenpin/schema";
import type { Logger } from "pino";
import { ModbusClient } from "./modbus-client.ts";
import type { Pulse } from "./pulse.ts";
import type { PartTrigger } from "./station.ts";

export type ModbusLineOptions = {
  config: ModbusLineConfig;
  station: string;
  deadlineMs: number;
  pulse: Pulse;
  onTrigger: (trigger: PartTrigger) => void;
  log: Logger;
};
type Seen = { id: number; isSet: boolean };

const RESULT = { pass: 1, fail: 2, unknown: 3 } as const;
const PULSE_MS = 100;
const AWAY_MS = 500;

export class ModbusLine {
  #options: ModbusLineOptions;
  #client: ModbusClient;
  #last: Seen | null = null;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #block: [id: number, result: number, ready: number, heartbeat: number] = [0, 0, 0, 0];
  #wroteAt = Number.NEGATIVE_INFINITY;
  #isTroubled = false;
  #stopped = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: ModbusLineOptions) {
    const { host, port, unit, timeoutMs } = options.config;
    this.#options = options;
    this.#client = new ModbusClient({ host, port, unit, timeoutMs });
  }

  start(): void {
    this.#running = this.#run();
  }

  /** The last thing the line hears is NOT READY. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
    this.#block[2] = 0;
    await this.#write().catch(() => undefined);
    this.#client.close();
  }

  /** Sets the result; resolves once the PLC has taken it. */
  async answer({ triggerId, outcome }: StationAnswer): Promise<void> {
    const id = this.#idOf(triggerId);
    if (id === null) return; // asked for by somebody else
    this.#block[0] = id;
    this.#block[1] = RESULT[outcome];
    try {
      await this.#write();
    } catch (error) {
      this.#block[1] = RESULT.unknown; // once the PLC is back it is too late for anything else
      throw error;
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      const wait = await this.#turn();
      await sleep(wait, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One look at the trigger and, when it is time, the pulse; how long to wait for the next one. */
  async #turn(): Promise<number> {
    const { config, log, station } = this.#options;
    try {
      await this.#look();
      if (performance.now() - this.#wroteAt >= PULSE_MS) await this.#write();
      if (this.#isTroubled) log.info({ station }, "plc-back");
      this.#isTroubled = false;
      return config.pollMs;
    } catch (error) {
      log[this.#isTroubled ? "debug" : "warn"]({ station, why: errorLine(error) }, "plc-lost");
      this.#isTroubled = true;
      return AWAY_MS;
    }
  }

  async #look(): Promise<void> {
    const { trigger, output } = this.#options.config;
    const before = this.#lookedAt;
    const startedAt = performance.now();
    // The coil first: a PLC sets the id, then the coil.
    const isSet = trigger.coil === undefined || (await this.#client.readCoil(trigger.coil));
    const [id = 0] = await this.#client.readRegisters(trigger.register, 1);
    const last = this.#last ?? (await this.#answeredBefore(output, id));
    this.#lookedAt = startedAt;
    this.#last = { id, isSet };
    const isNew = trigger.coil === undefined ? id !== 0 && id !== last.id : isSet && (!last.isSet || id !== last.id) && id !== 0;
    if (isNew) this.#fire(id, before);
  }

  /** What an agent before this one has answered is no new trigger. */
  async #answeredBefore(output: number, id: number): Promise<Seen> {
    const [answered = 0, result = 0] = await this.#client.readRegisters(output, 2);
    this.#block[0] = answered;
    this.#block[1] = result;
    return { id: answered, isSet: answered === id };
  }

  /** The part came at some time after the look before this one. */
  #fire(id: number, before: number): void {
    const { deadlineMs, onTrigger, station } = this.#options;
    const now = performance.now();
    const since = Number.isFinite(before) ? before : now - deadlineMs;
    onTrigger({ id: `${station}-${id}`, at: now, since: Math.max(since, now - deadlineMs) });
  }

  #idOf(triggerId: string): number | null {
    const own = `${this.#options.station}-`;
    const id = triggerId.startsWith(own) ? Number(triggerId.slice(own.length)) : Number.NaN;
    return Number.isInteger(id) && id > 0 && id < 65_536 ? id : null;
  }

  async #write(): Promise<void> {
    const { config, pulse } = this.#options;
    if (!this.#stopped.signal.aborted) {
      this.#block[2] = pulse.isReady ? 1 : 0;
      this.#block[3] = pulse.beat();
    }
    this.#wroteAt = performance.now();
    await this.#client.writeRegisters(config.output, this.#block);
  }
}
