/**
 * A SkyPilot task that trains a recipe on rented GPUs: the repository as working folder, the run folder in a bucket, so that a
 * lost node goes on from its last checkpoint.
 * In: a recipe's path and what to rent. Out: the task as plain data, valid by the schema here: the subset of SkyPilot 0.14's
 * task schema (sky/utils/schemas.py) that is written, with tighter limits; every key of it is one of theirs.
 */
import { KenpinError } from "@kenpin/schema";
import { z } from "zod";

export const LaunchOptions = z.strictObject({
  target: z.literal("skypilot"),
  out: z.string().min(1).max(4096),
  gpus: z.string().regex(/^[A-Za-z0-9-]{1,40}:[1-9][0-9]{0,2}$/, "say a kind and a number, e.g. H100:8"),
  nodes: z.coerce.number().pipe(z.int().min(1).max(64)).default(1),
  bucket: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "a bucket has 3 to 63 small letters, digits, dots and hyphens")
    .default("kenpin-runs"),
  diskGb: z.coerce.number().pipe(z.int().min(50).max(65_536)).default(256),
  spot: z.boolean().default(true),
});
export type LaunchOptions = z.infer<typeof LaunchOptions>;

export const SkyTask = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,50}$/),
  workdir: z.string().min(1),
  num_nodes: z.int().min(1).max(64),
  resources: z.strictObject({
    accelerators: z.string(),
    disk_size: z.int().min(50),
    use_spot: z.boolean(),
    job_recovery: z.strictObject({ strategy: z.literal("EAGER_NEXT_REGION"), max_restarts_on_errors: z.int().min(0) }),
  }),
  file_mounts: z.record(
    z.string().startsWith("/"),
    z.strictObject({ name: z.string(), mode: z.enum(["MOUNT", "MOUNT_CACHED"]), persistent: z.boolean() }),
  ),
  setup: z.string().min(1),
  run: z.string().min(1),
});
export type SkyTask = z.infer<typeof SkyTask>;

/** SkyPilot's images are Debian's or Ubuntu's; kenpin fetches a newer Node itself where this one is too old. */
const NODE = "command -v npm >/dev/null || { sudo apt-get update -q && sudo apt-get install -y -q nodejs npm; }";

/** `recipe`: its path below the working folder; every path in it must lie there too. */
export function skyTask(name: string, recipe: string, { gpus, nodes, bucket, diskGb, spot }: LaunchOptions): SkyTask {
  const short = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^[^a-z]+|-+$/g, "")
    .slice(0, 40);
  if (recipe.startsWith("..") || /["'$`\\\n]/.test(recipe)) {
    throw new KenpinError(
      "invalid-input",
      `${recipe} lies outside the folder that is sent along, or has a strange name; start this beside it`,
    );
  }
  const count = gpus.split(":")[1] as string;
  return SkyTask.parse({
    name: `kenpin-${short || "run"}`,
    workdir: ".",
    num_nodes: nodes,
    resources: {
      accelerators: gpus,
      disk_size: diskGb,
      use_spot: spot,
      job_recovery: { strategy: "EAGER_NEXT_REGION", max_restarts_on_errors: 3 },
    },
    // Several machines must see one another's files as they are written; a cache of its own would serve one machine faster.
    file_mounts: { "/runs": { name: bucket, mode: nodes > 1 ? "MOUNT" : "MOUNT_CACHED", persistent: true } },
    setup: ["set -e", NODE, "npm ci", "npx kenpin engine install torch --cuda", ""].join("\n"),
    run: [
      "set -e",
      `npx kenpin train '${recipe}' --engine torch --gpus ${count}${meeting(nodes)} --out /runs/${short || "run"} --yes`,
      "",
    ].join("\n"),
  });
}

/** SkyPilot tells each machine its number and everybody's address, the first machine's first. */
function meeting(nodes: number): string {
  if (nodes === 1) return "";
  return ` --nodes ${nodes} --node "$SKYPILOT_NODE_RANK" --rendezvous "$(echo "$SKYPILOT_NODE_IPS" | head -n1):29400"`;
}
