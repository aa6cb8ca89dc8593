/**
 * The search for one key: is there an order of the operations that respects real time and that the model accepts?
 *
 * The search (Wing and Gong's, with Lowe's memory of seen configurations and his just-in-time choice) walks through the
 * events in order. An operation becomes open at its call. At the return of an operation that has no place in the order yet,
 * and only there, open operations are placed, ending with that one; everything else can wait without loss. A choice that
 * leads nowhere is undone. A configuration (position, open operations without a place, state) is never tried twice.
 *
 * What keeps 64 writers of one key and thousands of unknown outcomes from multiplying:
 *
 * 1. An operation that only observes is placed as soon as the state allows it: moving it earlier harms nobody.
 * 2. When an overwrite is placed, every overwrite that was open then becomes *free*: it may be thought of as placed just
 *    before, where nobody saw it. A free operation may return without a place, or still be placed for real.
 *    So an overwrite is never placed only to be overwritten by the next one.
 * 3. Open operations with equal input and output are interchangeable: the one with the earliest return goes first.
 *    For unknown outcomes only their number counts.
 * 4. An operation with unknown outcome whose result no other operation can have seen is dropped beforehand: the next
 *    operation in any order that contains it is an overwrite, so the order stays legal without it. For the same reason a free overwrite that nobody
 *    saw is never placed for real.
 *
 * Invariants: `open` is ordered by return; at rest its first element is the operation whose return is next; a slot belongs
 * to at most one open operation, so position and two bits per slot name the open operations exactly.
 */
import { assert, present } from '../base/assert.ts';
import type { TimedOperation } from './history.ts';
import { preparePlan, type SearchPlan } from './linearizability-plan.ts';
import { illegal, type Model } from './linearizability-models.ts';

/** What the search of one key may use. */
export interface SearchLimits {
  /** Calls of `Model.step` before the search gives up. */
  readonly stepsMax: number;
  /** Asked every 1024 steps: true stops the search. */
  readonly isOutOfTime: () => boolean;
}

/** What the search of one key found. */
export type SearchOutcome<Input, Output> =
  | {
      readonly kind: 'linearizable';
      readonly steps: number;
      /** One legal order; unknown outcomes that did not happen are left out. */
      readonly order: readonly TimedOperation<Input, Output>[];
    }
  | {
      readonly kind: 'violation';
      readonly steps: number;
      /** The order that came furthest. */
      readonly order: readonly TimedOperation<Input, Output>[];
      /** Key of the state after that order. */
      readonly stateKey: string;
      /** The operation whose return could not be reached, then what else was open at that moment. */
      readonly unplaced: readonly TimedOperation<Input, Output>[];
    }
  | { readonly kind: 'undecided'; readonly steps: number };

/** One more operation in the order; `burnt` ones belong just before the last overwrite. */
interface Placement {
  readonly operation: number;
  readonly burnt: boolean;
  readonly before: Placement | undefined;
}

/** Unknown outcomes that are called and not placed, by class. Never changed in place. */
interface Pool {
  /** Ascending. */
  readonly classes: readonly number[];
  readonly counts: readonly number[];
  /** Names the content exactly. */
  readonly key: string;
}

interface Configuration<State> {
  readonly position: number;
  readonly state: State;
  readonly stateKey: string;
  /** Open operations without a place as `operation * 2 + free`, ordered by return. */
  readonly open: readonly number[];
  readonly pool: Pool;
  /** The last thing that happened was an overwrite: another one would make it pointless. */
  readonly hasJustOverwritten: boolean;
  readonly placed: Placement | undefined;
}

interface Frame<State> {
  readonly configuration: Configuration<State>;
  /** 0: let the free operation return; then the open ones; then the pool. */
  choiceNext: number;
}

/** Searches an order for the operations of one key. */
export function searchOrder<State, Input, Output>(
  operations: readonly TimedOperation<Input, Output>[],
  model: Model<State, Input, Output>,
  limits: SearchLimits,
): SearchOutcome<Input, Output> {
  return new OrderSearch(preparePlan(operations, model), model, limits).run();
}

class OrderSearch<State, Input, Output> {
  readonly #plan: SearchPlan<Input, Output>;
  readonly #model: Model<State, Input, Output>;
  readonly #limits: SearchLimits;
  readonly #seen = new Set<string>();
  readonly #stack: Frame<State>[] = [];
  #steps = 0;
  #isStopped = false;

  constructor(
    plan: SearchPlan<Input, Output>,
    model: Model<State, Input, Output>,
    limits: SearchLimits,
  ) {
    this.#plan = plan;
    this.#model = model;
    this.#limits = limits;
  }

  run(): SearchOutcome<Input, Output> {
    const state = this.#model.init();
    const start = this.#advance({
      position: 0,
      state,
      stateKey: this.#model.stateKey(state),
      open: [],
      pool: { classes: [], counts: [], key: '' },
      hasJustOverwritten: false,
      placed: undefined,
    });
    let furthest = start;
    this.#visit(start);
    while (furthest.position < this.#plan.events.length) {
      const frame = this.#stack.at(-1);
      if (frame === undefined) return this.#violation(furthest);
      const next = this.#choose(frame);
      if (this.#isStopped) return { kind: 'undecided', steps: this.#steps };
      if (next === undefined) this.#stack.pop();
      else if (this.#visit(next) && next.position > furthest.position) furthest = next;
    }
    return { kind: 'linearizable', steps: this.#steps, order: this.#orderOf(furthest) };
  }

  /** Pushes a configuration unless it was seen before. */
  #visit(configuration: Configuration<State>): boolean {
    const key = this.#keyOf(configuration);
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    this.#stack.push({ configuration, choiceNext: 0 });
    return true;
  }

  /** The next configuration reachable from a frame by one choice. */
  #choose(frame: Frame<State>): Configuration<State> | undefined {
    const { configuration } = frame;
    const { open, pool } = configuration;
    const first = present(open[0], 'a frame stands at the return of an open operation');
    const isSettled = (first & 1) === 1 && !this.#plan.isObserved(first >> 1);
    const choices = isSettled ? 1 : 1 + open.length + pool.classes.length;
    while (frame.choiceNext < choices && !this.#isStopped) {
      const choice = frame.choiceNext;
      frame.choiceNext += 1;
      const next =
        choice === 0
          ? this.#letReturn(configuration, first)
          : choice <= open.length
            ? this.#placeOpen(configuration, choice - 1)
            : this.#placeUnknown(configuration, choice - 1 - open.length);
      if (next !== undefined) return next;
    }
    return undefined;
  }

  #letReturn(configuration: Configuration<State>, first: number): Configuration<State> | undefined {
    if ((first & 1) === 0) return undefined;
    return this.#advance({
      ...configuration,
      open: configuration.open.slice(1),
      placed: { operation: first >> 1, burnt: true, before: configuration.placed },
    });
  }

  #placeOpen(
    configuration: Configuration<State>,
    choice: number,
  ): Configuration<State> | undefined {
    const { open } = configuration;
    const operation = present(open[choice], 'a choice is one of the open operations') >> 1;
    if (this.#plan.effectOf(operation) === 'observe') return undefined;
    if (this.#isDominated(open, choice)) return undefined;
    return this.#place(configuration, operation, {
      open: open.filter((_, position) => position !== choice),
      pool: configuration.pool,
      isAwaited: choice === 0,
    });
  }

  #placeUnknown(
    configuration: Configuration<State>,
    choice: number,
  ): Configuration<State> | undefined {
    const { pool, position } = configuration;
    const group = present(pool.classes[choice], 'a choice is one of the classes');
    const left = present(pool.counts[choice], 'each class has a count');
    // Members of a class are taken in order of their calls, so their number tells which one this is.
    const operation = this.#plan.unknownOf(
      group,
      this.#plan.unknownsCalled(group, position) - left,
    );
    return this.#place(configuration, operation, {
      open: configuration.open,
      pool: addToPool(pool, group, -1),
      isAwaited: false,
    });
  }

  #place(
    from: Configuration<State>,
    operation: number,
    rest: Pick<Configuration<State>, 'open' | 'pool'> & { readonly isAwaited: boolean },
  ): Configuration<State> | undefined {
    const isOverwrite = this.#plan.effectOf(operation) === 'overwrite';
    if (isOverwrite && from.hasJustOverwritten) return undefined;
    const state = this.#step(from.state, operation);
    if (state === illegal) return undefined;
    const open = isOverwrite ? this.#free(rest.open) : rest.open;
    const placed = { operation, burnt: false, before: from.placed };
    const stateKey = this.#model.stateKey(state);
    const hasJustOverwritten = isOverwrite;
    const next = { ...from, state, stateKey, open, pool: rest.pool, hasJustOverwritten, placed };
    const settled = stateKey === from.stateKey ? next : this.#placeObservers(next);
    if (!rest.isAwaited && settled.hasJustOverwritten && !this.#hasUpdate(settled))
      return undefined;
    return this.#advance(settled);
  }

  /** Marks the open overwrites as free (rule 2). */
  #free(open: readonly number[]): readonly number[] {
    return open.map((entry) =>
      this.#plan.effectOf(entry >> 1) === 'overwrite' ? entry | 1 : entry,
    );
  }

  /** Places every open operation that only observes and may do so now (rule 1). */
  #placeObservers(from: Configuration<State>): Configuration<State> {
    let placed = from.placed;
    const open: number[] = [];
    for (const entry of from.open) {
      const operation = entry >> 1;
      const isPlaceable =
        this.#plan.effectOf(operation) === 'observe' &&
        this.#step(from.state, operation) !== illegal;
      if (isPlaceable) placed = { operation, burnt: false, before: placed };
      else open.push(entry);
    }
    if (open.length === from.open.length) return from;
    return { ...from, open, placed, hasJustOverwritten: false };
  }

  /** Walks on to the next return of an operation without a place. */
  #advance(from: Configuration<State>): Configuration<State> {
    const { events } = this.#plan;
    let { position, pool, placed, hasJustOverwritten } = from;
    const open = [...from.open];
    for (; position < events.length; position++) {
      const event = present(events[position], 'the position is within the events');
      const operation = event >> 1;
      if ((event & 1) === 1) {
        if (open[0] !== undefined && open[0] >> 1 === operation) break;
      } else if (!this.#plan.isRequired(operation)) {
        pool = addToPool(pool, this.#plan.classOf(operation), 1);
      } else if (
        this.#plan.effectOf(operation) === 'observe' &&
        this.#step(from.state, operation) !== illegal
      ) {
        placed = { operation, burnt: false, before: placed };
      } else {
        this.#insertByReturn(open, operation);
      }
      hasJustOverwritten = false;
    }
    return { ...from, position, open, pool, placed, hasJustOverwritten };
  }

  #insertByReturn(open: number[], operation: number): void {
    const returnAt = this.#plan.returnOf(operation);
    let position = open.length;
    while (position > 0 && this.#plan.returnOf((open[position - 1] ?? 0) >> 1) > returnAt)
      position -= 1;
    open.splice(position, 0, operation << 1);
  }

  /** Whether an equal operation with an earlier return is open (rule 3). */
  #isDominated(open: readonly number[], choice: number): boolean {
    const group = this.#plan.classOf((open[choice] ?? 0) >> 1);
    for (let earlier = 0; earlier < choice; earlier++) {
      if (this.#plan.classOf((open[earlier] ?? 0) >> 1) === group) return true;
    }
    return false;
  }

  #hasUpdate(configuration: Configuration<State>): boolean {
    return (
      configuration.open.some((entry) => this.#plan.effectOf(entry >> 1) === 'update') ||
      configuration.pool.classes.some(
        (group) => this.#plan.effectOf(this.#plan.unknownOf(group, 0)) === 'update',
      )
    );
  }

  #step(state: State, operation: number): State | typeof illegal {
    this.#steps += 1;
    if (this.#steps >= this.#limits.stepsMax) this.#isStopped = true;
    if ((this.#steps & 1023) === 0 && this.#limits.isOutOfTime()) this.#isStopped = true;
    const { input, output } = this.#plan.operation(operation);
    return this.#model.step(state, input, output);
  }

  #keyOf(configuration: Configuration<State>): string {
    // Eight slots of two bits in each UTF-16 unit: 0 placed or not open, 1 open, 2 free.
    const words = new Array<number>((this.#plan.slotCount + 7) >> 3).fill(0);
    for (const entry of configuration.open) {
      const slot = this.#plan.slotOf(entry >> 1);
      words[slot >> 3] = (words[slot >> 3] ?? 0) | ((1 + (entry & 1)) << ((slot & 7) << 1));
    }
    const { position, hasJustOverwritten, pool, stateKey } = configuration;
    const mark = hasJustOverwritten ? '!' : '.';
    return `${position}${mark}${String.fromCharCode(...words)}${pool.key}|${stateKey}`;
  }

  #violation(furthest: Configuration<State>): SearchOutcome<Input, Output> {
    const unplaced = furthest.open.map((entry) => this.#plan.operation(entry >> 1));
    assert(unplaced.length > 0, 'a violation has an operation without a place');
    const order = this.#orderOf(furthest);
    return { kind: 'violation', steps: this.#steps, order, stateKey: furthest.stateKey, unplaced };
  }

  #orderOf(configuration: Configuration<State>): readonly TimedOperation<Input, Output>[] {
    const placements: Placement[] = [];
    for (let link = configuration.placed; link !== undefined; link = link.before)
      placements.push(link);
    const order: number[] = [];
    // Burnt operations wait for their overwrite: reading backwards, that is the next overwrite placed for real.
    let burnt: number[] = [];
    for (const placement of placements) {
      if (placement.burnt) {
        burnt.push(placement.operation);
        continue;
      }
      order.push(placement.operation);
      if (this.#plan.effectOf(placement.operation) !== 'overwrite') continue;
      order.push(...burnt);
      burnt = [];
    }
    assert(burnt.length === 0, 'a free operation has an overwrite that freed it');
    return order.reverse().map((operation) => this.#plan.operation(operation));
  }
}

function addToPool(pool: Pool, group: number, change: 1 | -1): Pool {
  const classes = [...pool.classes];
  const counts = [...pool.counts];
  let at = classes.length;
  while (at > 0 && (classes[at - 1] ?? 0) >= group) at -= 1;
  if (classes[at] !== group) {
    classes.splice(at, 0, group);
    counts.splice(at, 0, 0);
  }
  const count = (counts[at] ?? 0) + change;
  assert(count >= 0, 'only a called operation leaves the pool');
  counts[at] = count;
  if (count === 0) {
    classes.splice(at, 1);
    counts.splice(at, 1);
  }
  const key = classes.map((name, position) => `${name}x${counts[position] ?? 0}`).join();
  return { classes, counts, key };
}
