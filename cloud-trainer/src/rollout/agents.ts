/**
 * The agents a hub knows: enrolled by an administrator, each with a token of which only the sha256 is kept, and what each
 * last said of itself. What an agent should run is remembered here too, and is published again whenever the broker comes back.
 */
import { digestOf, freshSecret } from "@kenpin/page";
import { type AgentRow, AgentStatus, agentTopics, BundleDesired, BundleReported, Drift } from "@kenpin/schema";
import type { Database, Message, Publish } from "../ports.ts";

/** An agent that makes up cameras must not fill the hub's memory. */
const DRIFTS_OF_AN_AGENT = 64;

const TABLES = [
  `CREATE TABLE agents (
     site TEXT NOT NULL, agent TEXT NOT NULL, token_digest TEXT NOT NULL UNIQUE, enrolled_at TEXT NOT NULL,
     status TEXT, reported TEXT, desired TEXT, PRIMARY KEY (site, agent)) STRICT`,
];

type Stored = { site: string; agent: string; status: string | null; reported: string | null; desired: string | null; verdicts: number };
export type Agents = Awaited<ReturnType<typeof openAgents>>;

export async function openAgents(database: Database) {
  await database.migrate("agents", TABLES);
  const all = await database.all<{ site: string; agent: string }>("SELECT site, agent FROM agents");
  // Every message asks this, so it is kept in memory; only this process enrols.
  const enrolled = new Set(all.map(({ site, agent }) => `${site}/${agent}`));
  /** By agent and camera, in memory: the messages are retained, and an agent sends them again on every connection. */
  const drifts = new Map<string, Map<string, Drift>>();

  const rows = async (where = "", ...values: string[]): Promise<AgentRow[]> => {
    const sql = `SELECT site, agent, status, reported, desired,
      (SELECT coalesce(sum(n), 0) FROM verdict_counts AS c WHERE c.site = agents.site AND c.agent = agents.agent) AS verdicts
      FROM agents ${where} ORDER BY site, agent`;
    return (await database.all<Stored>(sql, ...values)).map((stored) =>
      toRow(stored, [...(drifts.get(`${stored.site}/${stored.agent}`)?.values() ?? [])]),
    );
  };
  const row = async (site: string, agent: string): Promise<AgentRow | null> =>
    (await rows("WHERE site = ? AND agent = ?", site, agent))[0] ?? null;
  const set = (column: "status" | "reported" | "desired", site: string, agent: string, value: unknown) =>
    database.run(`UPDATE agents SET ${column} = ? WHERE site = ? AND agent = ?`, JSON.stringify(value), site, agent);

  return {
    rows,
    row,
    enrolled: (site: string, agent: string) => enrolled.has(`${site}/${agent}`),

    agentOf: async (tokenDigest: string): Promise<{ site: string; agent: string } | null> => {
      const sql = "SELECT site, agent FROM agents WHERE token_digest = ?";
      return (await database.all<{ site: string; agent: string }>(sql, tokenDigest))[0] ?? null;
    },

    /** Enrolling again gives a new token and takes the old one back. */
    enrol: async (site: string, agent: string): Promise<string> => {
      const token = freshSecret("kg_");
      const sql = `INSERT INTO agents (site, agent, token_digest, enrolled_at) VALUES (?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET token_digest = excluded.token_digest, enrolled_at = excluded.enrolled_at`;
      await database.run(sql, site, agent, digestOf(token), new Date().toISOString());
      enrolled.add(`${site}/${agent}`);
      return token;
    },

    /** A status or a bundle report of an enrolled agent; null where its contract refuses it or it is old news. */
    heard: async (site: string, agent: string, kind: "status" | "bundle", { payload }: Message): Promise<AgentStatus | true | null> => {
      if (kind === "bundle") {
        const reported = BundleReported.safeParse(payload);
        if (!reported.success) return null;
        await set("reported", site, agent, reported.data);
        return true;
      }
      const status = AgentStatus.safeParse(payload);
      if (!status.success) return null;
      const before = await row(site, agent);
      // The will of a connection that died late must not bury the boot that came after it.
      if (status.data.state === "offline" && before?.status?.state === "online" && before.status.bootId !== status.data.bootId) return true;
      await set("status", site, agent, status.data);
      return status.data;
    },

    /** How a camera of an enrolled agent drifts; false where the contract refuses it or it speaks for another. */
    heardDrift: (site: string, agent: string, camera: string, { payload }: Message): boolean => {
      const drift = Drift.safeParse(payload);
      if (!drift.success || drift.data.site !== site || drift.data.agent !== agent || drift.data.camera !== camera) return false;
      const own = drifts.get(`${site}/${agent}`) ?? new Map<string, Drift>();
      drifts.set(`${site}/${agent}`, own.set(camera, drift.data));
      for (const old of [...own.keys()].slice(0, Math.max(0, own.size - DRIFTS_OF_AN_AGENT))) own.delete(old);
      return true;
    },

    desire: (site: string, agent: string, desired: BundleDesired) => set("desired", site, agent, desired),

    publishDesired: async (publish: Publish): Promise<void> => {
      for (const { site, agent, desired } of await rows("WHERE desired IS NOT NULL")) {
        await publish(agentTopics(site, agent).bundleDesired, desired, { retain: true });
      }
    },
  };
}

function toRow({ site, agent, status, reported, desired, verdicts }: Stored, drift: Drift[]): AgentRow {
  return {
    site,
    agent,
    status: status === null ? null : AgentStatus.parse(JSON.parse(status)),
    reported: reported === null ? null : BundleReported.parse(JSON.parse(reported)),
    desired: desired === null ? null : BundleDesired.parse(JSON.parse(desired)),
    drift,
    verdicts,
  };
}
