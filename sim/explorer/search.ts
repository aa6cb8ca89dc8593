/**
 * Depth-first search through all choices, each world once.
 *
 * Worlds are told apart by 64 bits of hash; two different worlds with the same hash would hide one of them, which at tens of
 * millions of worlds happens with a chance of about one in ten thousand.
 */
import { messageOf } from '../../src/base/errors.ts';
import { choicesOf, type Choice, type Wishes } from './choices.ts';
import { hashText, mix, type Hash } from './hash.ts';
import {
  firstWorld,
  ledWorld,
  type Budgets,
  type Explored,
  type Mark,
  type World,
} from './world.ts';

/** What is explored. */
export interface SearchOptions {
  readonly explored: Explored;
  readonly numbers: readonly number[];
  readonly budgets: Budgets;
  readonly wishes: Wishes;
  /** Whether the search begins where the first replica leads and has committed. */
  readonly isLed: boolean;
  /** Search ends after so many distinct worlds. */
  readonly statesMax: number;
  /** Longest path that is followed. */
  readonly depthMax: number;
  /** Asked now and then; search ends when it answers true. */
  readonly isOver: () => boolean;
}

/** What was found. */
export interface SearchReport {
  readonly states: number;
  readonly transitions: number;
  readonly depth: number;
  /** Whether every world within the budgets was visited. */
  readonly isComplete: boolean;
  readonly violation: { readonly message: string; readonly path: readonly string[] } | undefined;
  readonly marks: readonly Mark[];
}

interface Frame {
  readonly choices: readonly Choice[];
  next: number;
}

/** A set of 64-bit hashes in typed arrays. */
export class VisitedSet {
  #high: Uint32Array;
  #low: Uint32Array;
  #count = 0;

  constructor(capacity = 1 << 20) {
    this.#high = new Uint32Array(capacity);
    this.#low = new Uint32Array(capacity);
  }

  /** How many it holds. */
  get count(): number {
    return this.#count;
  }

  /** Adds a hash; whether it is new. */
  add(high: number, low: number): boolean {
    if (this.#count * 2 >= this.#high.length) this.#grow();
    // Zero marks an empty place.
    return this.#put(high === 0 && low === 0 ? 1 : high, low);
  }

  #put(high: number, low: number): boolean {
    const mask = this.#high.length - 1;
    for (let at = (low ^ (high >>> 3)) & mask; ; at = (at + 1) & mask) {
      if (this.#high[at] === high && this.#low[at] === low) return false;
      if (this.#high[at] === 0 && this.#low[at] === 0) {
        this.#high[at] = high;
        this.#low[at] = low;
        this.#count++;
        return true;
      }
    }
  }

  #grow(): void {
    const [high, low] = [this.#high, this.#low];
    this.#high = new Uint32Array(high.length * 2);
    this.#low = new Uint32Array(low.length * 2);
    this.#count = 0;
    for (let at = 0; at < high.length; at++)
      if (high[at] !== 0 || low[at] !== 0) this.#put(high[at] ?? 0, low[at] ?? 0);
  }
}

/** Explores. */
export function search(options: SearchOptions): SearchReport {
  const { explored, wishes } = options;
  const visited = new VisitedSet();
  const begin = options.isLed ? ledWorld : firstWorld;
  const first = begin(explored, options.numbers, options.budgets);
  const stack: Frame[] = [];
  const enter = (world: World): boolean => {
    const hash = hashOf(world);
    if (!visited.add(hash.high, hash.low)) return false;
    // Every world has an order of its own, so that a search that is cut short has looked everywhere a little.
    stack.push({ choices: rotated(choicesOf(world, explored, wishes), hash.low), next: 0 });
    return true;
  };
  enter(first);
  let transitions = 0;
  let depth = 0;
  let isCut = false;
  let violation: SearchReport['violation'];
  for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
    const choice = frame.choices[frame.next++];
    if (choice === undefined) {
      stack.pop();
      continue;
    }
    if (visited.count >= options.statesMax || (transitions % 1024 === 0 && options.isOver())) {
      isCut = true;
      break;
    }
    transitions++;
    try {
      const world = choice.run();
      if (stack.length >= options.depthMax) isCut = true;
      else if (enter(world)) depth = Math.max(depth, stack.length);
    } catch (error) {
      violation = { message: messageOf(error), path: pathOf(stack) };
      break;
    }
  }
  return {
    states: visited.count,
    transitions,
    depth,
    isComplete: !isCut && violation === undefined,
    violation,
    marks: [...explored.marks].sort(),
  };
}

function pathOf(stack: readonly Frame[]): readonly string[] {
  return stack.map(({ choices, next }) => choices[next - 1]?.name ?? '');
}

function rotated(choices: readonly Choice[], by: number): readonly Choice[] {
  const first = choices.length === 0 ? 0 : by % choices.length;
  return first === 0 ? choices : [...choices.slice(first), ...choices.slice(0, first)];
}

/** Replicas stand in their places; messages of a connection in their order, connections in none. */
function hashOf(world: World): Hash {
  const rest = hashText(`${Object.values(world.budgets).join()} ${world.promises.describe()}`);
  let high = rest.high;
  let low = rest.low;
  for (const [at, { hash }] of world.replicas.entries()) {
    high = mix((high + hash.high + at) | 0);
    low = mix((low ^ hash.low) + at * 0x9e3779b9);
  }
  let sumHigh = 0;
  let sumLow = 0;
  for (const [at, { to, message, hash }] of world.packets.entries()) {
    // Its place among those of its connection counts, not its place among all.
    let place = 0;
    for (let before = 0; before < at; before++) {
      const other = world.packets[before];
      if (other?.to === to && other.message.fromReplica === message.fromReplica) place++;
    }
    sumHigh = (sumHigh + mix(hash.high ^ Math.imul(place + 1, 0x5bd1e995))) | 0;
    sumLow = (sumLow + mix(hash.low ^ hash.high ^ Math.imul(place + 1, 0x27d4eb2f))) | 0;
  }
  return { high: mix(high ^ sumHigh), low: mix(low + sumLow) };
}
