/**
 * What people say of samples. Labels are only ever added: the latest one of a frame counts, the earlier ones stay as a
 * record of who changed their mind. Out: samples with their label, and the labelled frames a run may learn from.
 */
import { Refusal } from "@kenpin/page";
import { GROUND_TRUTH, type Label, type Sample, type SampleRow } from "@kenpin/schema";
import type { Database } from "../ports.ts";

const TABLES = [
  `CREATE TABLE labels (
     row INTEGER PRIMARY KEY AUTOINCREMENT, frame TEXT NOT NULL, label TEXT NOT NULL, labelled_by TEXT NOT NULL,
     at TEXT NOT NULL, body TEXT NOT NULL) STRICT;
   CREATE INDEX labels_by_frame ON labels (frame, row)`,
];

/** Far more than a person labels in a week; a page shows the newest. */
const SAMPLES_LIMIT = 5000;

const LATEST = "(SELECT row FROM labels WHERE labels.frame = samples.frame ORDER BY row DESC LIMIT 1)";
const ROWS = `SELECT samples.body, latest.body AS label, EXISTS (SELECT 1 FROM blobs WHERE blobs.sha256 = samples.frame) AS stored
  FROM samples LEFT JOIN labels AS latest ON latest.row = ${LATEST}`;

export type Learnable = { sample: Sample; label: "good" | "bad" };
export type Labels = Awaited<ReturnType<typeof openLabels>>;

export async function openLabels(database: Database) {
  await database.migrate("labels", TABLES);

  const rows = async (where: string, ...values: string[]): Promise<SampleRow[]> => {
    const sql = `${ROWS} ${where} ORDER BY samples.row DESC LIMIT ${SAMPLES_LIMIT}`;
    const found = await database.all<{ body: string; label: string | null; stored: number }>(sql, ...values);
    return found.map(({ body, label, stored }) => ({
      sample: JSON.parse(body),
      stored: stored === 1,
      label: label === null ? null : JSON.parse(label),
    }));
  };

  return {
    samples: ({ unlabelled }: { unlabelled: boolean }) => rows(unlabelled ? "WHERE latest.row IS NULL" : ""),
    samplesOf: (frame: string) => rows("WHERE samples.frame = ?", frame),
    /** The samples that a picture belongs to, as frame or as heat map. */
    samplesWith: (sha256: string) => rows("WHERE samples.frame = ? OR samples.map = ?", sha256, sha256),

    store: (labels: Label[]): Promise<number> =>
      database.transaction(async (tx) => {
        const at = new Date().toISOString();
        for (const label of labels) {
          const known = await tx.all("SELECT 1 FROM samples WHERE frame = ? LIMIT 1", label.sample);
          if (known.length === 0) {
            throw new Refusal(404, "sample-unknown", `no sample has the frame ${label.sample}; none of these labels was stored`);
          }
          const sql = "INSERT INTO labels (frame, label, labelled_by, at, body) VALUES (?, ?, ?, ?, ?)";
          await tx.run(sql, label.sample, label.label, label.by, at, JSON.stringify(label));
        }
        return labels.length;
      }),

    /** Whole frames that are here and that somebody called good or bad; each frame once, as it was first announced. */
    learnable: async (): Promise<Learnable[]> => {
      const sql = `SELECT samples.body, latest.label FROM samples JOIN labels AS latest ON latest.row = ${LATEST}
        WHERE latest.label IN ('good', 'bad') AND json_extract(samples.body, '$.evidence') = 'frame'
          AND EXISTS (SELECT 1 FROM blobs WHERE blobs.sha256 = samples.frame)
          AND samples.row = (SELECT min(row) FROM samples AS first WHERE first.frame = samples.frame)
        ORDER BY samples.row`;
      const found = await database.all<{ body: string; label: "good" | "bad" }>(sql);
      return found.map(({ body, label }) => ({ sample: JSON.parse(body), label }));
    },

    counts: async (): Promise<{ announced: number; unlabelled: number; labelledByGroundTruth: number }> => {
      const sql = `SELECT count(*) AS announced,
          count(*) FILTER (WHERE latest.row IS NULL) AS unlabelled,
          count(*) FILTER (WHERE latest.labelled_by = ?) AS labelledByGroundTruth
        FROM samples LEFT JOIN labels AS latest ON latest.row = ${LATEST}`;
      const [row] = await database.all<{ announced: number; unlabelled: number; labelledByGroundTruth: number }>(sql, GROUND_TRUTH);
      return row ?? { announced: 0, unlabelled: 0, labelledByGroundTruth: 0 };
    },
  };
}
