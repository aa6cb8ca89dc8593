/** Shorthand for histories, random ones, and a judge by brute force to compare with. */
import { createPrng, nextBelow, nextFloat, pick, type PrngState } from '../../src/base/prng.ts';
import type {
  HistoryEvent,
  HistoryInput,
  HistoryOperation,
  HistoryValue,
} from '../../src/testing/history.ts';
import { illegal, type Model } from '../../src/testing/linearizability-models.ts';

type Ending = { ok: HistoryValue } | 'fail' | 'info';

/** A client story: `[process, op, value, called, returned, ending]`, one key. */
export type Story = readonly [number, HistoryInput['op'], HistoryValue, number, number, Ending][];

export function storyEvents(story: Story, key = 'k'): HistoryEvent[] {
  const events: HistoryEvent[] = [];
  for (const [process, op, value, called, returned, ending] of story) {
    const type = typeof ending === 'string' ? ending : 'ok';
    const result = typeof ending === 'string' ? value : ending.ok;
    events.push({ process, type: 'invoke', op, key, value, time: called });
    events.push({ process, type, op, key, value: result, time: returned });
  }
  return events.sort((left, right) => left.time - right.time);
}

/** Tries every order; right by inspection, for a handful of operations. */
export function isLinearizableByForce<State>(
  operations: readonly HistoryOperation[],
  model: Model<State, HistoryInput, HistoryValue>,
): boolean {
  const seek = (state: State, left: readonly HistoryOperation[]): boolean => {
    if (left.every((operation) => operation.returnedIndex === undefined)) return true;
    return left.some((candidate) => {
      const rest = left.filter((operation) => operation !== candidate);
      const mustWait = rest.some(
        (other) => (other.returnedIndex ?? Infinity) < candidate.calledIndex,
      );
      if (mustWait) return false;
      const next = model.step(state, candidate.input, candidate.output);
      return next !== illegal && seek(next, rest);
    });
  };
  return seek(model.init(), operations);
}

/** Why `order` does not show that the operations are linearizable; undefined if it does. */
export function faultOfOrder<State>(
  order: readonly HistoryOperation[],
  operations: readonly HistoryOperation[],
  model: Model<State, HistoryInput, HistoryValue>,
): string | undefined {
  const placed = new Set(order);
  if (placed.size !== order.length) return 'an operation is placed twice';
  const missing = operations.find(
    (operation) => operation.returnedIndex !== undefined && !placed.has(operation),
  );
  if (missing !== undefined) return `missing: ${JSON.stringify(missing)}`;
  let state = model.init();
  let latestCall = -1;
  for (const operation of order) {
    if ((operation.returnedIndex ?? Infinity) < latestCall)
      return `too late: ${JSON.stringify(operation)}`;
    latestCall = Math.max(latestCall, operation.calledIndex);
    const next = model.step(state, operation.input, operation.output);
    if (next === illegal) return `illegal: ${JSON.stringify(operation)}`;
    state = next;
  }
  return undefined;
}

export interface SimulatedRegister {
  readonly seed: number;
  readonly clients: number;
  readonly operations: number;
  readonly keys: number;
  /** Chances: of an operation without an answer; of an unanswered one to take effect (perhaps late). */
  readonly infoRate: number;
  /** Draws what a client asks for. */
  readonly request: (prng: PrngState, number: number) => HistoryInput;
}

interface Flight {
  readonly process: number;
  readonly key: string;
  readonly input: HistoryInput;
  readonly effectAt: number;
  readonly returnAt: number;
  readonly willAnswer: boolean;
  result?: { ok: HistoryValue } | 'fail';
}

/** A true register under concurrent clients: linearizable by construction. */
export function simulateRegister(settings: SimulatedRegister): HistoryEvent[] {
  const prng = createPrng(settings.seed);
  const values = new Map<string, string>();
  const events: HistoryEvent[] = [];
  const flights: Flight[] = [];
  const pending: Flight[] = [];
  const processes = Array.from({ length: settings.clients }, (_, client) => client);
  const freeAt = processes.map(() => nextBelow(prng, 10));
  let processNext = settings.clients;
  let started = 0;
  const idle = new Set(processes.keys());
  for (let now = 0; started < settings.operations || flights.length > 0; now++) {
    for (const flight of pending.filter(({ effectAt }) => effectAt === now)) {
      flight.result = applyRegister(values, flight);
      pending.splice(pending.indexOf(flight), 1);
    }
    for (const flight of flights.filter(({ returnAt }) => returnAt === now)) {
      flights.splice(flights.indexOf(flight), 1);
      const client = processes.indexOf(flight.process);
      const { process, key, input } = flight;
      const result = flight.willAnswer ? flight.result! : 'info';
      const type = typeof result === 'string' ? result : 'ok';
      const value = typeof result === 'string' ? input.value : result.ok;
      events.push({ process, type, op: input.op, key, value, time: now });
      if (type === 'info') processes[client] = processNext++;
      idle.add(client);
      freeAt[client] = now + nextBelow(prng, 4);
    }
    for (const client of [...idle]) {
      if (freeAt[client]! > now || started >= settings.operations) continue;
      idle.delete(client);
      const flight = launch(prng, { settings, started, process: processes[client]!, now });
      started += 1;
      flights.push(flight);
      if (flight.effectAt > 0) pending.push(flight);
      const { process, key, input } = flight;
      events.push({ process, type: 'invoke', op: input.op, key, value: input.value, time: now });
    }
  }
  return events;
}

function launch(
  prng: PrngState,
  at: { settings: SimulatedRegister; started: number; process: number; now: number },
): Flight {
  const { settings, started, process, now } = at;
  const input = settings.request(prng, started);
  const key = `k${nextBelow(prng, settings.keys)}`;
  const effect = 1 + nextBelow(prng, 12);
  const returned = effect + 1 + nextBelow(prng, 12);
  if (nextFloat(prng) >= settings.infoRate) {
    return {
      process,
      key,
      input,
      effectAt: now + effect,
      returnAt: now + returned,
      willAnswer: true,
    };
  }
  const effectAt = nextBelow(prng, 2) === 0 ? 0 : now + effect * (1 + nextBelow(prng, 40));
  return { process, key, input, effectAt, returnAt: now + returned, willAnswer: false };
}

function applyRegister(values: Map<string, string>, flight: Flight): { ok: HistoryValue } | 'fail' {
  const { op, value } = flight.input;
  const now = values.get(flight.key) ?? null;
  const set = (next: string): { ok: HistoryValue } => {
    values.set(flight.key, next);
    return { ok: null };
  };
  if (op === 'read') return { ok: now };
  if (op === 'write') return set(String(value));
  if (op === 'delete') return { ok: values.delete(flight.key) ? 1 : 0 };
  if (op === 'incr')
    return { ok: Number(set(String(Number(now ?? 0) + 1)) && values.get(flight.key)) };
  const [expected, replacement] = value as [HistoryValue, HistoryValue];
  return now === expected ? set(String(replacement)) : 'fail';
}

/** Reads and writes of values nobody else writes, and some swaps. */
export function uniqueWrites(prng: PrngState, number: number): HistoryInput {
  const kind = nextBelow(prng, 10);
  if (kind < 5) return { op: 'read', value: null };
  return { op: 'write', value: `v${number}` };
}

/** All operations over a few values. */
export function fewValues(prng: PrngState): HistoryInput {
  const draw = (): string => String(nextBelow(prng, 5));
  const op = pick(prng, ['read', 'read', 'write', 'write', 'cas', 'delete'] as const);
  if (op === 'cas') return { op, value: [draw(), draw()] };
  return { op, value: op === 'write' ? draw() : null };
}
