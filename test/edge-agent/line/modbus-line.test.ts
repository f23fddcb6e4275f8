/** The handshake with a PLC, against a real Modbus server, and a client that trusts nothing a PLC says. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { KenpinError, ModbusLineConfig, type StationAnswer } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import { pino } from "pino";
import { ModbusClient } from "../../../edge-agent/src/line/modbus-client.ts";
import { ModbusLine } from "../../../edge-agent/src/line/modbus-line.ts";
import { Pulse } from "../../../edge-agent/src/line/pulse.ts";
import type { PartTrigger } from "../../../edge-agent/src/line/station.ts";
import { PLC_COIL, PLC_MAP, type Plc, startPlc } from "../../support/plc.ts";
import { until } from "../edge-site.ts";

test("a new id in the trigger register is a part, once, and its result stands beside its id", async () => {
  await withLine({}, async ({ plc, line, triggers }) => {
    await until("READY", () => plc.output().ready === 1);
    plc.trigger(17);
    await until("the trigger", () => triggers.length === 1);
    assert.equal(triggers[0]?.id, "press-17");
    await line.answer(answer("press-17", "fail"));
    assert.deepEqual([plc.output().id, plc.output().result], [17, 2]);
    await sleep(150);
    assert.equal(triggers.length, 1);
    plc.trigger(0);
    await sleep(100);
    plc.trigger(17); // the same id for the next part, after none
    await until("the next part", () => triggers.length === 2);
    await line.answer(answer("press-17", "pass"));
    await line.answer(answer("somebody-else", "fail"));
    assert.deepEqual([plc.output().id, plc.output().result], [17, 1]);
  });
});

test("where a coil is named its rise is the trigger, with the id beside it", async () => {
  await withLine({ trigger: { ...PLC_MAP.trigger, coil: PLC_COIL } }, async ({ plc, triggers }) => {
    await until("READY", () => plc.output().ready === 1);
    plc.trigger(9);
    await sleep(100);
    assert.equal(triggers.length, 0);
    for (const _ of [1, 2]) {
      plc.coil(true);
      const before = triggers.length;
      await until("the trigger", () => triggers.length === before + 1);
      plc.coil(false);
      await sleep(60);
    }
    assert.deepEqual(
      triggers.map(({ id }) => id),
      ["press-9", "press-9"],
    );
  });
});

test("a trigger that was set before anybody looked is too old to be answered with anything but unknown", async () => {
  await withLine({ before: (plc) => plc.trigger(33) }, async ({ triggers }) => {
    await until("the trigger", () => triggers.length === 1);
    const [{ since, at }] = triggers as [PartTrigger];
    assert.ok(at - since >= 500, "its deadline has passed");
  });
  const answered = (plc: Plc) => {
    plc.trigger(33);
    plc.set(PLC_MAP.output, 33);
    plc.set(PLC_MAP.output + 1, 1);
  };
  await withLine({ before: answered }, async ({ plc, triggers }) => {
    await until("READY", () => plc.output().ready === 1);
    await sleep(100);
    assert.equal(triggers.length, 0); // the agent before this one has answered it
    assert.deepEqual([plc.output().id, plc.output().result], [33, 1]);
  });
});

test("a PLC that was away finds the line again, and a result that it could not take is unknown by then", async () => {
  await withLine({}, async ({ plc, line, triggers }) => {
    await until("READY", () => plc.output().ready === 1);
    plc.trigger(5);
    await until("the trigger", () => triggers.length === 1);
    await plc.stop();
    await assert.rejects(line.answer(answer("press-5", "pass")));
    const back = await startPlc(plc.port);
    try {
      back.trigger(5);
      await until("the result", () => back.output().id === 5);
      assert.equal(back.output().result, 3);
      assert.equal(triggers.length, 1);
      await until("READY again", () => back.output().ready === 1);
    } finally {
      await line.stop();
      assert.equal(back.output().ready, 0); // the last thing the line hears
      await back.stop();
    }
  });
});

test("READY and the heartbeat are those of the pulse: a line that stands still does not beat", async () => {
  await withLine({}, async ({ plc, life }) => {
    await until("three beats", () => plc.output().heartbeat >= 3);
    life.isStill = true;
    await sleep(150);
    const { heartbeat } = plc.output();
    await until("NOT READY", () => plc.output().ready === 0);
    assert.equal(plc.output().heartbeat, heartbeat);
    life.isStill = false;
    await until("READY", () => plc.output().ready === 1);
  });
});

test("a PLC that refuses, is silent or speaks something else is an error, and the next question is asked anew", async () => {
  const plc = await startPlc();
  const client = new ModbusClient({ host: "127.0.0.1", port: plc.port, unit: 1, timeoutMs: 500 });
  plc.set(7, 4711);
  assert.deepEqual(await client.readRegisters(6, 2), [0, 4711]);
  await assert.rejects(client.readRegisters(60_000, 1), (error: KenpinError) => error.code === "modbus-unreachable"); // answered short
  assert.deepEqual(await Promise.all([client.readRegisters(7, 1), client.readCoil(0), client.readRegisters(7, 1)]), [
    [4711],
    false,
    [4711],
  ]);
  client.close();
  await assert.rejects(client.readRegisters(7, 1), (error: KenpinError) => error.code === "modbus-closed");
  await plc.stop();
  const ok = Buffer.from([0, 0, 0, 0, 0, 5, 1, 3, 2, 0, 9]);
  const answers: Buffer[] = [
    Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"),
    Buffer.from([0, 2, 0, 0, 0xff, 0xff, 1, 3]), // a length no Modbus has
    Buffer.from([0, 99, 0, 0, 0, 5, 1, 3, 2, 0, 9]), // somebody else's transaction
    Buffer.from([0, 4, 0, 0, 0, 7, 1, 3, 4, 0, 9, 0, 9]), // more registers than were asked for
    Buffer.alloc(0), // nothing at all
    Buffer.from([0, 6, 0, 0, 0, 3, 1, 0x83, 2]), // no such address
    ok,
  ];
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (question: Buffer) => {
      const said = answers.shift() as Buffer;
      if (said === ok) question.copy(said, 0, 0, 2);
      for (const byte of said) socket.write(Buffer.from([byte])); // byte by byte
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const careful = new ModbusClient({ host: "127.0.0.1", port, unit: 1, timeoutMs: 200 });
  for (let i = 0; i < 5; i++) {
    await assert.rejects(careful.readRegisters(0, 1), (error: KenpinError) => error.code === "modbus-unreachable", `answer ${i}`);
  }
  await assert.rejects(careful.readRegisters(0, 1), (error: KenpinError) => error.code === "modbus-refused");
  assert.deepEqual(await careful.readRegisters(0, 1), [9]);
  careful.close();
  server.close();
});

test("whatever a PLC sends, a question is answered with numbers or refused, and nothing else happens", async (t) => {
  const random = createRandom(5);
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (question: Buffer) => {
      const said = Buffer.from(Array.from({ length: random.int(24) }, () => random.int(256)));
      if (random.next() < 0.8) Buffer.from([question[0] as number, question[1] as number, 0, 0, 0, random.int(10)]).copy(said);
      socket.write(said);
      if (random.next() < 0.2) socket.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const client = new ModbusClient({ host: "127.0.0.1", port, unit: 1, timeoutMs: 20 });
  t.after(() => {
    client.close();
    server.close();
  });
  for (let i = 0; i < 200; i++) {
    const answered = await client.readRegisters(0, 2).catch((error: unknown) => error);
    assert.ok(Array.isArray(answered) ? answered.every(Number.isInteger) : answered instanceof KenpinError, String(answered));
  }
});

type Options = { trigger?: { register: number; coil?: number }; before?: (plc: Plc) => void };
type Parts = { plc: Plc; line: ModbusLine; triggers: PartTrigger[]; life: { isStill: boolean } };

async function withLine({ trigger = PLC_MAP.trigger, before }: Options, work: (parts: Parts) => Promise<void>): Promise<void> {
  const plc = await startPlc();
  before?.(plc);
  const triggers: PartTrigger[] = [];
  const life = { isStill: false, at: 0 };
  const repliedAt = () => {
    if (!life.isStill) life.at = performance.now();
    return life.at;
  };
  const line = new ModbusLine({
    config: ModbusLineConfig.parse({ host: "127.0.0.1", port: plc.port, trigger, output: PLC_MAP.output, pollMs: 10 }),
    station: "press",
    deadlineMs: 500,
    pulse: new Pulse({ repliedAt, cameras: () => [], aliveMs: 300, now: () => performance.now() }),
    onTrigger: (one) => triggers.push(one),
    log: pino({ level: "silent" }),
  });
  line.start();
  try {
    await work({ plc, line, triggers, life });
  } finally {
    await line.stop();
    await plc.stop().catch(() => undefined);
  }
}

function answer(triggerId: string, outcome: StationAnswer["outcome"]): StationAnswer {
  return { station: "press", triggerId, outcome, late: false, cameras: [], ms: 1 };
}
