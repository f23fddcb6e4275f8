/**
 * How GStreamer is asked for a camera's pictures: the pipeline of the configuration, which ends with jpegenc or pngenc, and `fdsink` after
 * it. The way to GigE and GenICam cameras (`aravissrc`, `pylonsrc`). In: the pipeline as one writes it for gst-launch-1.0 in a shell.
 * Out: its argument array; no shell sees it.
 */
import { type GstreamerSource, KenpinError } from "@kenpin/schema";
import type { Program } from "./child-feed.ts";

export async function gstreamerProgram({ pipeline, command }: GstreamerSource): Promise<Program> {
  return { command, args: ["-q", ...pipelineArguments(pipeline), "!", "fdsink", "fd=1", "sync=false"], secrets: [] };
}

/** Words apart by white space; quotes and backslashes as a POSIX shell has them, and nothing else of a shell. */
export function pipelineArguments(pipeline: string): string[] {
  const words: string[] = [];
  for (const [whole] of pipeline.matchAll(/(?:"(?:[^"\\]|\\.)*"|'[^']*'|\\.|[^\s"'\\])+/gs)) {
    words.push(whole.replace(/"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/gs, (_, double, single, bare) => single ?? bare ?? unescaped(double)));
  }
  const open = pipeline.replace(/"(?:[^"\\]|\\.)*"|'[^']*'|\\./gs, "");
  if (/["']/.test(open)) throw new KenpinError("pipeline-malformed", "the camera's pipeline has a quote that is not closed");
  return words;
}

function unescaped(text: string): string {
  return text.replace(/\\(["\\$`])/g, "$1");
}
