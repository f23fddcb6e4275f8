/** A certificate authority of a test's own, made with openssl: a broker's certificate for loopback, and clients' certificates. */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export const withoutOpenssl: string | false =
  spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed (Debian: apt install openssl)";

type Pair = { cert: string; key: string };
export type Authority = { ca: string; issue: (name: string, options?: { days?: number }) => Pair };

/** Everything lies in `folder`, under the names given. */
export function makeAuthority(folder: string, authority: string): Authority {
  const file = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "pipe" });
  const keyOf = (name: string) => {
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file(`${name}.key`));
    return file(`${name}.key`);
  };
  const caKey = keyOf(authority);
  const ca = file(`${authority}.crt`);
  openssl("req", "-x509", "-new", "-key", caKey, "-days", "30", "-subj", `/CN=${authority}`, "-out", ca);
  return {
    ca,
    issue: (name, { days = 30 } = {}) => {
      const [key, request, cert, names] = [keyOf(name), file(`${name}.csr`), file(`${name}.crt`), file(`${name}.ext`)];
      openssl("req", "-new", "-key", key, "-subj", `/CN=${name}`, "-out", request);
      writeFileSync(names, "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
      openssl(
        ...["x509", "-req", "-in", request, "-CA", ca, "-CAkey", caKey, "-CAcreateserial"],
        ...["-days", String(days), "-extfile", names, "-out", cert],
      );
      return { cert, key };
    },
  };
}
