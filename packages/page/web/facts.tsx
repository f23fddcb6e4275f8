/** Names and values in a row; one without a value is left out, one in trouble stands out. */
import type { ComponentChildren } from "preact";

export type Fact = [name: string, value: ComponentChildren | undefined, fine?: boolean];

export function Facts({ facts }: { facts: readonly Fact[] }) {
  return (
    <dl class="facts">
      {facts.map(
        ([name, value, fine = true]) =>
          value !== undefined && (
            <div key={name}>
              <dt>{name}</dt>
              <dd class={fine ? "" : "trouble"}>{value}</dd>
            </div>
          ),
      )}
    </dl>
  );
}
