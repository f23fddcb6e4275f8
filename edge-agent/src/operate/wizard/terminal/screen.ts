/**
 * The terminal of a set-up: lines, a line of progress that comes once something takes two seconds, and questions where somebody is
 * there to answer them. What nobody is asked is answered as by Enter.
 */
import { createInterface } from "node:readline";
import { errorLine, KenpinError } from "@kenpin/schema";

export type Screen = {
  isAsking: boolean;
  line: (text: string) => void;
  /** Shown over the one before; `end` makes way for other lines. */
  progress: () => { say: (text: string) => void; end: () => void };
  ask: (question: string) => Promise<string>;
};
type Streams = { isAsking: boolean; input: NodeJS.ReadStream; lines: NodeJS.WritableStream | null; asides: NodeJS.WriteStream };

const QUIET_MS = 2000;
const EVERY_MS = 1000;

/** `lines`: where what people read goes; `asides`: questions and progress. */
export function openScreen({ isAsking, input, lines, asides }: Streams): Screen {
  return {
    isAsking,
    line: (text) => void lines?.write(`${text}\n`),
    progress: () => {
      let saidAt = Date.now() + QUIET_MS - EVERY_MS;
      let [isOpen, said] = [false, ""];
      return {
        say: (text) => {
          if (text === said || Date.now() - saidAt < EVERY_MS) return;
          [saidAt, said] = [Date.now(), text];
          isOpen = asides.isTTY;
          asides.write(isOpen ? `\r\x1b[K${text}` : `${text}\n`);
        },
        end: () => void (isOpen && asides.write("\r\x1b[K")),
      };
    },
    ask: async (question) => (isAsking ? answerTo(question, input, asides) : ""),
  };
}

/** Takes what was given; else asks until an answer can be taken, where somebody is there to ask. */
export async function settle<T>(
  screen: Screen,
  { given, question, take }: { given: string | undefined; question: string; take: (answer: string) => Promise<T> },
): Promise<T> {
  if (given !== undefined || !screen.isAsking) return take(given ?? "");
  for (;;) {
    try {
      return await take(await screen.ask(question));
    } catch (error) {
      if (!(error instanceof KenpinError) || error.code === "setup-left") throw error;
      screen.line(errorLine(error));
    }
  }
}

export async function yes(screen: Screen, question: string, otherwise: boolean): Promise<boolean> {
  const answer = await screen.ask(question);
  if (/^(y|yes|はい)$/i.test(answer)) return true;
  return /^(n|no|いいえ)$/i.test(answer) ? false : otherwise;
}

/** An interface a question: between two of them an interrupt ends the program as everywhere. */
function answerTo(question: string, input: NodeJS.ReadStream, output: NodeJS.WriteStream): Promise<string> {
  const lines = createInterface({ input, output });
  return new Promise<string>((resolve, reject) => {
    lines.once("close", () => reject(new KenpinError("setup-left", "the set-up was left before its end; nothing was saved")));
    lines.question(question, (answer) => {
      resolve(answer.trim());
      lines.close();
    });
  });
}
