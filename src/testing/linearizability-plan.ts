/** What the search of one key looks up: events in order, and per operation its effect, class, slot and return. */
import { present } from '../base/assert.ts';
import type { TimedOperation } from './history.ts';
import type { Model, OperationFootprint } from './linearizability-models.ts';

/** The prepared operations of one key, numbered in order of their calls. */
export interface SearchPlan<Input, Output> {
  /** `operation * 2` is its call, `operation * 2 + 1` its return. */
  readonly events: Int32Array;
  /** Most required operations open at once. */
  readonly slotCount: number;
  operation(number: number): TimedOperation<Input, Output>;
  /** Whether it surely happened. */
  isRequired(number: number): boolean;
  /** Whether some operation can have seen the state that it leaves. */
  isObserved(number: number): boolean;
  effectOf(number: number): OperationFootprint['effect'];
  /** Operations of one class are equal but for their time. Required and unknown ones are never of the same class. */
  classOf(number: number): number;
  /** A number below `slotCount`, its own while it is open. Required operations only. */
  slotOf(number: number): number;
  /** Position of its return among the events. Required operations only. */
  returnOf(number: number): number;
  /** The member of a class of unknown outcomes that was called as number `rank`. */
  unknownOf(group: number, rank: number): number;
  /** How many members of a class of unknown outcomes were called before `position`. */
  unknownsCalled(group: number, position: number): number;
}

/** Sorts out what cannot matter, then numbers and classifies the rest. */
export function preparePlan<State, Input, Output>(
  all: readonly TimedOperation<Input, Output>[],
  model: Model<State, Input, Output>,
): SearchPlan<Input, Output> {
  const candidates = all
    .map((operation) => ({ operation, footprint: footprintOf(operation, model) }))
    .sort((left, right) => left.operation.calledIndex - right.operation.calledIndex);
  const { kept, observed } = dropUnseen(candidates);
  const events = orderEvents(kept);
  const positions = new Int32Array(kept.length * 2);
  for (const [position, event] of events.entries()) positions[event] = position;
  const classes = classify(kept);
  const members = membersOf(classes);
  const { slots, slotCount } = assignSlots(events, kept);
  return {
    events,
    slotCount,
    operation: (number) => at(kept, number).operation,
    isRequired: (number) => isRequired(at(kept, number).operation),
    isObserved: (number) => isSeen(at(kept, number).footprint, observed),
    effectOf: (number) => at(kept, number).footprint.effect,
    classOf: (number) => at(classes, number),
    slotOf: (number) => slots[number] ?? 0,
    returnOf: (number) => positions[number * 2 + 1] ?? 0,
    unknownOf: (group, rank) => at(at(members, group), rank),
    unknownsCalled: (group, position) => countBefore(at(members, group), position, positions),
  };
}

interface Candidate<Input, Output> {
  readonly operation: TimedOperation<Input, Output>;
  readonly footprint: OperationFootprint;
}

/** State keys that some operation can have seen, or `every` where that is not known. */
type Observed = ReadonlySet<string> | 'every';

function footprintOf<State, Input, Output>(
  operation: TimedOperation<Input, Output>,
  model: Model<State, Input, Output>,
): OperationFootprint {
  return (
    model.footprint?.(operation.input, operation.output) ?? {
      effect: 'update',
      legalOn: undefined,
      leaves: undefined,
    }
  );
}

function isRequired(operation: TimedOperation<unknown, unknown>): boolean {
  return operation.returnedIndex !== undefined;
}

/** Drops unknown outcomes that nobody can have seen, and again, until none is left to drop. */
function dropUnseen<Input, Output>(
  candidates: readonly Candidate<Input, Output>[],
): { readonly kept: readonly Candidate<Input, Output>[]; readonly observed: Observed } {
  let kept = candidates.filter(
    ({ operation, footprint }) => isRequired(operation) || footprint.effect !== 'observe',
  );
  for (;;) {
    const observed = observedBy(kept);
    const left = kept.filter(
      ({ operation, footprint }) => isRequired(operation) || isSeen(footprint, observed),
    );
    if (left.length === kept.length) return { kept, observed };
    kept = left;
  }
}

function observedBy(candidates: readonly Candidate<unknown, unknown>[]): Observed {
  const keys = new Set<string>();
  for (const { footprint } of candidates) {
    if (footprint.effect === 'overwrite') continue;
    if (footprint.legalOn === undefined) return 'every';
    for (const key of footprint.legalOn) keys.add(key);
  }
  return keys;
}

function isSeen(footprint: OperationFootprint, observed: Observed): boolean {
  return observed === 'every' || footprint.leaves === undefined || observed.has(footprint.leaves);
}

function orderEvents(candidates: readonly Candidate<unknown, unknown>[]): Int32Array {
  const marks: { readonly index: number; readonly event: number }[] = [];
  for (const [number, { operation }] of candidates.entries()) {
    marks.push({ index: operation.calledIndex, event: number * 2 });
    if (operation.returnedIndex === undefined) continue;
    marks.push({ index: operation.returnedIndex, event: number * 2 + 1 });
  }
  // At equal positions calls come first: then the operations overlap, which claims less.
  marks.sort((left, right) => left.index - right.index || (left.event & 1) - (right.event & 1));
  return Int32Array.from(marks, (mark) => mark.event);
}

function classify(candidates: readonly Candidate<unknown, unknown>[]): readonly number[] {
  const names = new Map<string, number>();
  return candidates.map(({ operation }) => {
    const { input, output } = operation;
    const name = JSON.stringify([
      isRequired(operation),
      input,
      output ?? null,
      output === undefined,
    ]);
    const known = names.get(name) ?? names.size;
    names.set(name, known);
    return known;
  });
}

function membersOf(classes: readonly number[]): readonly (readonly number[])[] {
  const members: number[][] = [];
  for (const [number, group] of classes.entries()) (members[group] ??= []).push(number);
  return members;
}

function countBefore(members: readonly number[], position: number, positions: Int32Array): number {
  let low = 0;
  let high = members.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((positions[at(members, middle) * 2] ?? 0) < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

function assignSlots(
  events: Int32Array,
  candidates: readonly Candidate<unknown, unknown>[],
): { readonly slots: Int32Array; readonly slotCount: number } {
  const slots = new Int32Array(candidates.length);
  const spare: number[] = [];
  let slotCount = 0;
  for (const event of events) {
    const number = event >> 1;
    if (!isRequired(at(candidates, number).operation)) continue;
    if ((event & 1) === 1) spare.push(slots[number] ?? 0);
    else slots[number] = spare.pop() ?? slotCount++;
  }
  return { slots, slotCount };
}

function at<T>(items: readonly T[], position: number): T {
  return present(items[position], 'the number belongs to the plan');
}
