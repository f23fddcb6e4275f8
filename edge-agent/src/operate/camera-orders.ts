/**
 * What a command does to this agent's cameras: teach, pause, resume. A pause is kept across restarts; a paused camera's frames
 * stay in its folder and are answered once it is resumed.
 */
import { type AgentConfig, type Command, KenpinError } from "@kenpin/schema";
import { type Database, readFact, writeFact } from "../database.ts";

export type CameraOrdersOptions = {
  db: Database;
  cameras: AgentConfig["cameras"];
  beginTeaching: (camera: string, count: number) => void;
  onResume: (camera: string) => void;
};

const PAUSED = "cameras.paused";
/** A memory bank measures each reference against the others. */
const FEWEST_REFERENCES = 2;

export class CameraOrders {
  #options: CameraOrdersOptions;
  #paused: Set<string>;

  constructor(options: CameraOrdersOptions) {
    this.#options = options;
    this.#paused = new Set(readFact<string[]>(options.db, PAUSED) ?? []);
  }

  isPaused(camera: string): boolean {
    return this.#paused.has(camera);
  }

  act(command: Command): void {
    const { cameras, beginTeaching, onResume } = this.#options;
    if (!cameras.some(({ name }) => name === command.camera)) {
      const names = cameras.map(({ name }) => name).join(", ");
      throw new KenpinError("unknown-camera", `this agent has no camera "${command.camera}"; it has ${names}`);
    }
    if (command.name === "teach") {
      this.#refuseMixedParts();
      if (command.count < FEWEST_REFERENCES) {
        throw new KenpinError(
          "too-few-references",
          `a memory bank needs ${FEWEST_REFERENCES} good frames at least, ${command.count} was asked`,
        );
      }
      beginTeaching(command.camera, command.count);
      return;
    }
    if (command.name === "pause") this.#paused.add(command.camera);
    else this.#paused.delete(command.camera);
    writeFact(this.#options.db, PAUSED, [...this.#paused]);
    if (command.name === "resume") onResume(command.camera);
  }

  /** One memory bank serves every camera of the agent, so all of them must show the same part. */
  #refuseMixedParts(): void {
    const parts = new Set(this.#options.cameras.map(({ part }) => part ?? ""));
    if (parts.size > 1) {
      const names = [...parts].map((part) => part || "(none)").join(", ");
      throw new KenpinError(
        "mixed-parts",
        `this agent's cameras show different parts (${names}); run one agent a part to teach references`,
      );
    }
  }
}
