/**
 * Sequential models that a history is judged against: what each operation would do if operations ran one at a time.
 *
 * A model is a pure function; the optional footprint only makes the search faster and must never say more than `step` does
 * (a test compares the two).
 */
import { ClustorError } from '../base/errors.ts';
import type { HistoryInput, HistoryValue } from './history.ts';

/** What {@link Model.step} answers where the operation could not have given its output. @public */
export const illegal: unique symbol = Symbol('illegal');

/** How an operation touches the state, whatever the state is. @public */
export interface OperationFootprint {
  /**
   * `observe`: never changes the state. `overwrite`: legal on every state, and the state afterwards does not depend on the
   * one before. `update`: anything else.
   */
  readonly effect: 'observe' | 'overwrite' | 'update';
  /** Keys of the only states on which it is legal; undefined when it may be legal on any. Ignored for `overwrite`. */
  readonly legalOn: readonly string[] | undefined;
  /** Key of the state that it leaves; undefined when that depends on the state before. Ignored for `observe`. */
  readonly leaves: string | undefined;
}

/** A sequential object. Inputs and outputs are plain JSON data, states are never changed in place. @public */
export interface Model<State, Input, Output> {
  readonly name: string;
  /** The state before the first operation. */
  init(): State;
  /**
   * Runs one operation. An undefined output fits every result (the caller never learned it).
   *
   * @returns The next state, or {@link illegal} when the operation cannot give this output on this state.
   */
  step(state: State, input: Input, output: Output | undefined): State | typeof illegal;
  /** Text that two states share exactly when no operation can tell them apart. */
  stateKey(state: State): string;
  /** A hint for the search; a model without it is treated as if every operation were an `update` on any state. */
  footprint?(input: Input, output: Output | undefined): OperationFootprint;
}

/** State of {@link registerModel}: the value, null for absent. @public */
export type RegisterState = string | null;

/**
 * One key of a key-value map: write, read, cas, delete, and incr on values that are whole numbers (absent counts as 0).
 *
 * Values are compared as text: 5 and "5" are the same.
 *
 * @public
 */
export const registerModel: Model<RegisterState, HistoryInput, HistoryValue> = {
  name: 'register',
  init: () => null,
  step: stepRegister,
  stateKey: registerKey,
  footprint: registerFootprint,
};

function stepRegister(
  state: RegisterState,
  input: HistoryInput,
  output: HistoryValue | undefined,
): RegisterState | typeof illegal {
  switch (input.op) {
    case 'write':
      return registerValue(input.value);
    case 'read':
      return output === undefined || registerValue(output) === state ? state : illegal;
    case 'cas': {
      const [expected, replacement] = casValues(input);
      return state === expected ? replacement : illegal;
    }
    case 'incr': {
      const before = wholeNumber(state ?? '0');
      if (before === undefined) return illegal;
      const after = String(before + incrAmount(input));
      return isUnseen(output) || registerValue(output) === after ? after : illegal;
    }
    case 'delete':
      return isUnseen(output) || isTrue(output) === (state !== null) ? null : illegal;
    case 'append':
      throw unknownOperation('register', input);
  }
}

function registerFootprint(
  input: HistoryInput,
  output: HistoryValue | undefined,
): OperationFootprint {
  switch (input.op) {
    case 'write':
      return overwrite(registerKey(registerValue(input.value)));
    case 'read':
      return observe(output === undefined ? undefined : [registerKey(registerValue(output))]);
    case 'cas': {
      const [expected, replacement] = casValues(input);
      if (expected === replacement) return observe([registerKey(expected)]);
      return update([registerKey(expected)], registerKey(replacement));
    }
    case 'incr': {
      const after = isUnseen(output) ? undefined : wholeNumber(registerValue(output));
      if (after === undefined) return update(undefined, undefined);
      const before = after - incrAmount(input);
      return update(numberKeys(before), registerKey(String(after)));
    }
    case 'delete':
      if (isUnseen(output)) return overwrite(registerKey(null));
      return update(isTrue(output) ? undefined : [registerKey(null)], registerKey(null));
    case 'append':
      throw unknownOperation('register', input);
  }
}

/** A number that starts at 0: incr and read. @public */
export const counterModel: Model<number, HistoryInput, HistoryValue> = {
  name: 'counter',
  init: () => 0,
  step(state, input, output) {
    if (input.op === 'read') {
      return output === undefined || Number(output) === state ? state : illegal;
    }
    if (input.op !== 'incr') throw unknownOperation('counter', input);
    const after = state + incrAmount(input);
    return isUnseen(output) || Number(output) === after ? after : illegal;
  },
  stateKey: String,
  footprint(input, output) {
    if (input.op === 'read')
      return observe(output === undefined ? undefined : [numberText(output)]);
    if (input.op !== 'incr') throw unknownOperation('counter', input);
    if (isUnseen(output)) return update(undefined, undefined);
    const after = Number(output);
    return update([String(after - incrAmount(input))], String(after));
  },
};

/** State of a {@link createAppendModel}: a node in the tree of all lists seen so far. @public */
export interface AppendState {
  readonly id: number;
  readonly length: number;
  readonly last: string;
  readonly before: AppendState | undefined;
  readonly longer: Map<string, AppendState>;
}

/**
 * A list that starts empty: append one value, read all values. The tree of lists is shared within one model, which makes
 * comparing long lists cheap; make a model per check.
 *
 * @public
 */
export function createAppendModel(): Model<AppendState, HistoryInput, HistoryValue> {
  const root: AppendState = { id: 0, length: 0, last: '', before: undefined, longer: new Map() };
  let idNext = 1;
  const append = (state: AppendState, value: string): AppendState => {
    const known = state.longer.get(value);
    if (known !== undefined) return known;
    const next = {
      id: idNext,
      length: state.length + 1,
      last: value,
      before: state,
      longer: new Map(),
    };
    idNext += 1;
    state.longer.set(value, next);
    return next;
  };
  return {
    name: 'append',
    init: () => root,
    step(state, input, output) {
      if (input.op === 'read')
        return output === undefined || isList(state, output) ? state : illegal;
      if (input.op !== 'append') throw unknownOperation('append', input);
      if (!isUnseen(output) && Number(output) !== state.length + 1) return illegal;
      return append(state, JSON.stringify(input.value));
    },
    stateKey: (state) => String(state.id),
    footprint: (input) => (input.op === 'read' ? observe(undefined) : update(undefined, undefined)),
  };
}

function isList(state: AppendState, values: HistoryValue): boolean {
  const expected = values ?? [];
  if (!Array.isArray(expected) || expected.length !== state.length) return false;
  let node = state;
  while (node.before !== undefined) {
    if (node.last !== JSON.stringify(expected[node.length - 1])) return false;
    node = node.before;
  }
  return true;
}

function observe(legalOn: readonly string[] | undefined): OperationFootprint {
  return { effect: 'observe', legalOn, leaves: undefined };
}

function overwrite(leaves: string): OperationFootprint {
  return { effect: 'overwrite', legalOn: undefined, leaves };
}

function update(
  legalOn: readonly string[] | undefined,
  leaves: string | undefined,
): OperationFootprint {
  return { effect: 'update', legalOn, leaves };
}

function registerKey(state: RegisterState): string {
  return state === null ? '-' : `=${state}`;
}

function registerValue(value: HistoryValue): RegisterState {
  if (value === null || typeof value === 'string') return value;
  return typeof value === 'number' ? String(value) : JSON.stringify(value);
}

/** Keys of the states that count as `value`: its shortest spelling, and absence for 0. */
function numberKeys(value: number): readonly string[] {
  const key = registerKey(String(value));
  return value === 0 ? [key, registerKey(null)] : [key];
}

function numberText(value: HistoryValue): string {
  return String(Number(value));
}

/** The number that a text spells in its shortest form; other spellings are no numbers. */
function wholeNumber(text: RegisterState): number | undefined {
  const value = Number(text ?? 'none');
  return Number.isSafeInteger(value) && String(value) === text ? value : undefined;
}

function casValues(input: HistoryInput): readonly [RegisterState, RegisterState] {
  const [expected, replacement] = Array.isArray(input.value) ? (input.value as HistoryValue[]) : [];
  if (expected === undefined || replacement === undefined) {
    throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', 'the value of a cas is [old, new]');
  }
  return [registerValue(expected), registerValue(replacement)];
}

function incrAmount(input: HistoryInput): number {
  const amount = input.value === null ? 1 : Number(input.value);
  if (!Number.isSafeInteger(amount)) {
    throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', 'the value of an incr is a whole number');
  }
  return amount;
}

function isUnseen(output: HistoryValue | undefined): output is null | undefined {
  return output === undefined || output === null;
}

function isTrue(output: HistoryValue): boolean {
  return output === 1 || output === true || output === '1';
}

function unknownOperation(model: string, input: HistoryInput): ClustorError {
  return new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `the ${model} model knows no operation ${input.op}`,
  );
}
