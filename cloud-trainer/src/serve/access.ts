/**
 * Who may come in: tokens of people and tools by role, one-time login links, sessions of the page. Agents' tokens belong
 * to rollout/ and are asked for through `agentOf`. Only sha256 digests of secrets are stored; a token is shown once.
 */
import { join } from "node:path";
import { digestOf, freshSecret, keptToken, LINK_LIFE_MS, SESSION_LIFE_MS, sameDigest } from "@kenpin/page";
import { type LoginLink, type Me, Role, type TokenGrant, type TokenRequest } from "@kenpin/schema";
import type { Caller } from "../door.ts";
import type { Database } from "../ports.ts";

/** Links that nobody opened must not pile up. */
const OPEN_LINKS = 100;

const TABLES = [
  `CREATE TABLE tokens (digest TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL) STRICT;
   CREATE TABLE login_links (digest TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, expires_at INTEGER NOT NULL) STRICT;
   CREATE TABLE sessions (digest TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, expires_at INTEGER NOT NULL) STRICT`,
];

type Holder = { digest: string; name: string; role: string };
type AccessOptions = {
  database: Database;
  dataDir: string;
  agentOf: (tokenDigest: string) => Promise<{ site: string; agent: string } | null>;
  now?: () => number;
};

export type Access = Awaited<ReturnType<typeof openAccess>>;

export async function openAccess({ database, dataDir, agentOf, now = Date.now }: AccessOptions) {
  await database.migrate("access", TABLES);
  // The first start makes it; whoever may read the data folder is the administrator.
  const adminDigest = digestOf(keptToken(join(dataDir, "admin.token"), "ka_", "admin-token-broken"));

  const personOf = async (token: string): Promise<Me | null> => {
    const digest = digestOf(token);
    if (sameDigest(digest, adminDigest)) return { name: "admin", role: "admin" };
    const [holder] = await database.all<Holder>("SELECT digest, name, role FROM tokens WHERE digest = ?", digest);
    return holder && sameDigest(holder.digest, digest) ? me(holder) : null;
  };

  return {
    callerOf: async (token: string): Promise<Caller | null> => {
      const person = await personOf(token);
      if (person) return { kind: "person", ...person };
      const agent = await agentOf(digestOf(token));
      return agent && { kind: "agent", ...agent };
    },
    personOf,
    sessionOf: async (secret: string): Promise<Me | null> => {
      const sql = "SELECT digest, name, role FROM sessions WHERE digest = ? AND expires_at > ?";
      const [holder] = await database.all<Holder>(sql, digestOf(secret), now());
      return holder ? me(holder) : null;
    },
    /** A token of the same name is replaced, and what was signed in with it is signed out: that is how one is taken back. */
    grant: async ({ name, role }: TokenRequest): Promise<TokenGrant> => {
      const token = freshSecret("kt_");
      const sql = "INSERT INTO tokens VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, role = excluded.role";
      await database.transaction(async (tx) => {
        await tx.run("DELETE FROM sessions WHERE name = ?", name);
        await tx.run("DELETE FROM login_links WHERE name = ?", name);
        await tx.run(sql, digestOf(token), name, role);
      });
      return { name, role, token };
    },
    loginLink: async ({ name, role }: Me): Promise<LoginLink> => {
      const code = freshSecret();
      const expiresAt = now() + LINK_LIFE_MS;
      await database.run("DELETE FROM login_links WHERE expires_at <= ?", now());
      const newest = "SELECT digest FROM login_links ORDER BY expires_at DESC LIMIT ?";
      await database.run(`DELETE FROM login_links WHERE digest NOT IN (${newest})`, OPEN_LINKS - 1);
      await database.run("INSERT INTO login_links VALUES (?, ?, ?, ?)", digestOf(code), name, role, expiresAt);
      return { path: `/login?code=${code}`, expiresAt: new Date(expiresAt).toISOString() };
    },
    /** Takes a link's code, once; null where it is unknown, used or too old. */
    redeem: async (code: string): Promise<Me | null> => {
      const sql = "DELETE FROM login_links WHERE digest = ? RETURNING digest, name, role, expires_at";
      const [link] = await database.all<Holder & { expires_at: number }>(sql, digestOf(code));
      return link && link.expires_at > now() ? me(link) : null;
    },
    /** The secret of a fresh session, for the cookie. */
    openSession: async ({ name, role }: Me): Promise<string> => {
      const fresh = freshSecret();
      await database.run("DELETE FROM sessions WHERE expires_at <= ?", now());
      await database.run("INSERT INTO sessions VALUES (?, ?, ?, ?)", digestOf(fresh), name, role, now() + SESSION_LIFE_MS);
      return fresh;
    },
    closeSession: async (session: string): Promise<void> => {
      await database.run("DELETE FROM sessions WHERE digest = ?", digestOf(session));
    },
  };
}

function me({ name, role }: Holder): Me {
  return { name, role: Role.parse(role) };
}
