/** A request that a server will not serve; the status is HTTP's, the code is ours. */
import { KenpinError } from "@kenpin/schema";

export class Refusal extends KenpinError {
  readonly status: number;

  constructor(status: number, code: string, message: string) {
    super(code, message);
    this.status = status;
  }
}
