/**
 * The clock and the chance of a simulated machine, put in place of the process's own while a user's code runs.
 *
 * A state machine must use neither. One that does would give another answer at every run, which finds the mistake but
 * cannot be repeated; with these in place each node has its own wrong clock and its own chance, and both follow from the
 * seed. Only the synchronous part of a call is covered: code behind an `await` sees the real ones.
 */
import { nextFloat, nextUint32, type PrngState } from '../../base/prng.ts';

/** What a call saw of its surroundings. */
export interface SurroundingsOptions {
  /** Milliseconds since 1970 as the machine believes. */
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  readonly random: PrngState;
  /** Gets the names of what was read; machines of one run share it, for explanations. */
  readonly reads: Set<string>;
}

interface Patched {
  readonly owner: object;
  readonly name: string;
  readonly value: unknown;
}

/** See the file comment. */
export class Surroundings {
  readonly #reads: Set<string>;
  readonly #patches: readonly Patched[];

  constructor({ wallMs, monotonicMs, random, reads }: SurroundingsOptions) {
    this.#reads = reads;
    const read = <Value>(name: string, value: () => Value): (() => Value) => {
      return () => {
        this.#reads.add(name);
        return value();
      };
    };
    const { performance, crypto } = globalThis as unknown as Record<string, object>;
    const patches: Patched[] = [
      { owner: globalThis, name: 'Date', value: simulatedDate(read('the clock (Date)', wallMs)) },
      { owner: Math, name: 'random', value: read('Math.random', () => nextFloat(random)) },
    ];
    if (performance !== undefined)
      patches.push({
        owner: performance,
        name: 'now',
        value: read('performance.now', monotonicMs),
      });
    if (crypto !== undefined)
      patches.push(
        { owner: crypto, name: 'randomUUID', value: read('crypto.randomUUID', () => uuid(random)) },
        {
          owner: crypto,
          name: 'getRandomValues',
          value: (target: ArrayBufferView) => {
            this.#reads.add('crypto.getRandomValues');
            const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
            for (let at = 0; at < bytes.length; at++) bytes[at] = nextUint32(random);
            return target;
          },
        },
      );
    this.#patches = patches;
  }

  /** Runs `act` in these surroundings, as far as it runs synchronously. */
  run<Result>(act: () => Result): Result {
    const before = this.#patches.map(({ owner, name }) =>
      Object.getOwnPropertyDescriptor(owner, name),
    );
    for (const { owner, name, value } of this.#patches)
      Object.defineProperty(owner, name, { value, configurable: true, writable: true });
    try {
      return act();
    } finally {
      this.#patches.forEach(({ owner, name }, at) => {
        const descriptor = before[at];
        if (descriptor === undefined) Reflect.deleteProperty(owner, name);
        else Object.defineProperty(owner, name, descriptor);
      });
    }
  }

  /** A sentence about what any machine of the run read, or nothing. */
  hint(): string {
    return this.#reads.size === 0
      ? ''
      : ` The machine read ${[...this.#reads].join(' and ')}: take time and chance from the context of apply instead.`;
  }
}

function simulatedDate(wallMs: () => number): DateConstructor {
  return new Proxy(Date, {
    construct: (target, given: unknown[], newTarget) =>
      Reflect.construct(target, given.length === 0 ? [wallMs()] : given, newTarget) as object,
    apply: (target) => new target(wallMs()).toString(),
    get: (target, property, receiver) =>
      property === 'now' ? wallMs : (Reflect.get(target, property, receiver) as unknown),
  });
}

function uuid(random: PrngState): string {
  const word = (): string => nextUint32(random).toString(16).padStart(8, '0');
  const [a, b, c, d] = [word(), word(), word(), word()];
  return `${a}-${b.slice(0, 4)}-4${b.slice(5)}-8${c.slice(1, 4)}-${c.slice(4)}${d}`;
}
