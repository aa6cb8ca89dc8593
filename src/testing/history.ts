/**
 * Client histories: what callers of a replicated register saw, as JSON lines that any outside checker can judge.
 *
 * One event a line: `{"process":3,"type":"invoke","op":"cas","key":"k7","value":["1","2"],"time":12345}`.
 *
 * - `process` is a thread of control with at most one operation in flight. A process whose operation ended in `info` never
 *   appears again; its caller goes on under a new number.
 * - `type`: `invoke` opens an operation. `ok` says that it happened; `fail` that it surely did not; `info` that nobody
 *   knows: it may take effect at any time after its invoke, or never. An invoke without an end counts as `info`.
 * - `value` of an invoke: write and append: the value; cas: `[old, new]`; incr: the amount; read and delete: null. Of an
 *   `ok`: read: the value read (null = absent); incr: the new number; delete: 1 or 0 for existed or not; append: the new
 *   length. A null in place of the last three means that the caller did not look. A cas that found another value is `fail`.
 * - `time` is nanoseconds on one monotonic clock. Events count in order of time; equal times keep the order of the lines.
 */
import { ClustorError } from '../base/errors.ts';

/** What an operation asks for. @public */
export type HistoryOp = 'write' | 'read' | 'cas' | 'incr' | 'delete' | 'append';

/** Stage of an operation that an event reports. @public */
export type HistoryEventType = 'invoke' | 'ok' | 'fail' | 'info';

/** A value of an event: plain JSON without objects. @public */
export type HistoryValue = string | number | boolean | null | readonly HistoryValue[];

/** One line of a history. @public */
export interface HistoryEvent {
  /** Thread of control; one operation at a time, retired by `info`. */
  readonly process: number;
  readonly type: HistoryEventType;
  readonly op: HistoryOp;
  readonly key: string;
  /** Argument at `invoke`, result at `ok`. */
  readonly value: HistoryValue;
  /** Nanoseconds on one monotonic clock. */
  readonly time: number;
}

/** What was asked, without when and by whom. @public */
export interface HistoryInput {
  readonly op: HistoryOp;
  readonly value: HistoryValue;
}

/** An operation with its place in the order of events. @public */
export interface TimedOperation<Input, Output> {
  readonly process: number;
  readonly key: string;
  readonly input: Input;
  /** What the caller got; undefined when the outcome is unknown. */
  readonly output: Output | undefined;
  /** Position of the invoke among all events of the history. */
  readonly calledIndex: number;
  /** Position of the answer; undefined when none came: the operation may take effect at any later time, or never. */
  readonly returnedIndex: number | undefined;
  /** Time of the invoke in nanoseconds. */
  readonly calledNs: number;
  /** Time of the answer in nanoseconds. */
  readonly returnedNs: number | undefined;
}

/** An operation of a {@link HistoryEvent} history. @public */
export type HistoryOperation = TimedOperation<HistoryInput, HistoryValue>;

/** The operations of a history; those that surely did not happen are only counted. @public */
export interface PairedHistory {
  /** Operations that happened or may have, in order of their invokes. */
  readonly operations: readonly HistoryOperation[];
  /** How many ended in `ok`. */
  readonly okCount: number;
  /** How many ended in `fail`. */
  readonly failCount: number;
  /** How many ended in `info` or not at all. */
  readonly infoCount: number;
}

const operationNames: readonly string[] = [
  'write',
  'read',
  'cas',
  'incr',
  'delete',
  'append',
] satisfies HistoryOp[];
const eventTypes: readonly string[] = ['invoke', 'ok', 'fail', 'info'] satisfies HistoryEventType[];

/**
 * Reads a history; blank lines are skipped, the result is in order of time.
 *
 * @throws {@link ClustorError} `CLUSTOR_INVALID_ARGUMENT` with the line number, for a line that is no event.
 */
export function parseHistory(lines: Iterable<string>): readonly HistoryEvent[] {
  const events: HistoryEvent[] = [];
  let line = 0;
  for (const text of lines) {
    line += 1;
    if (text.trim() !== '') events.push(parseEvent(text, line));
  }
  return events.sort((left, right) => left.time - right.time);
}

/** One line of a history, without the line end. */
export function formatEvent(event: HistoryEvent): string {
  const { process, type, op, key, value, time } = event;
  return JSON.stringify({ process, type, op, key, value, time });
}

/**
 * Joins invokes with their ends.
 *
 * @throws {@link ClustorError} `CLUSTOR_INVALID_ARGUMENT` for an end without an invoke, a second invoke of a busy process,
 * or a process that comes back after `info`: such a history says nothing.
 */
export function pairHistory(events: readonly HistoryEvent[]): PairedHistory {
  const running = new Map<number, number>();
  const retired = new Set<number>();
  const operations: (HistoryOperation | undefined)[] = [];
  const counts = { invoke: 0, ok: 0, fail: 0, info: 0 };
  for (const [index, event] of events.entries()) {
    counts[event.type] += 1;
    if (event.type === 'invoke') {
      refuseBusyOrRetired(event, index, { running, retired });
      running.set(event.process, operations.length);
      operations.push(openOperation(event, index));
      continue;
    }
    const position = running.get(event.process);
    const operation = position === undefined ? undefined : operations[position];
    if (position === undefined || operation === undefined) {
      throw badHistory(
        `event ${index} ends an operation that process ${event.process} has not invoked`,
        index,
      );
    }
    if (operation.input.op !== event.op || operation.key !== event.key) {
      throw badHistory(
        `event ${index} ends another operation than process ${event.process} invoked`,
        index,
      );
    }
    running.delete(event.process);
    if (event.type === 'info') retired.add(event.process);
    if (event.type === 'fail') operations[position] = undefined;
    if (event.type === 'ok') operations[position] = closeOperation(operation, event, index);
  }
  return {
    operations: operations.filter((operation) => operation !== undefined),
    okCount: counts.ok,
    failCount: counts.fail,
    infoCount: counts.invoke - counts.ok - counts.fail,
  };
}

function openOperation(event: HistoryEvent, index: number): HistoryOperation {
  return {
    process: event.process,
    key: event.key,
    input: { op: event.op, value: event.value },
    output: undefined,
    calledIndex: index,
    returnedIndex: undefined,
    calledNs: event.time,
    returnedNs: undefined,
  };
}

function closeOperation(
  operation: HistoryOperation,
  event: HistoryEvent,
  index: number,
): HistoryOperation {
  return { ...operation, output: event.value, returnedIndex: index, returnedNs: event.time };
}

function refuseBusyOrRetired(
  event: HistoryEvent,
  index: number,
  processes: {
    readonly running: ReadonlyMap<number, number>;
    readonly retired: ReadonlySet<number>;
  },
): void {
  if (processes.running.has(event.process)) {
    throw badHistory(`event ${index} is a second invoke of busy process ${event.process}`, index);
  }
  if (processes.retired.has(event.process)) {
    throw badHistory(
      `event ${index} is from process ${event.process}, which ended with info`,
      index,
    );
  }
}

function parseEvent(text: string, line: number): HistoryEvent {
  const fields = parseObject(text, line);
  const { process, type, op, key, value, time } = fields;
  if (!isCount(process)) throw badLine('process is not a whole number', line);
  if (!isMember(type, eventTypes)) throw badLine('type is none of invoke, ok, fail, info', line);
  if (!isMember(op, operationNames)) throw badLine('op is unknown', line);
  if (typeof key !== 'string') throw badLine('key is not a string', line);
  if (!isCount(time)) throw badLine('time is not a whole number of nanoseconds', line);
  const checked = value === undefined ? null : value;
  if (!isHistoryValue(checked))
    throw badLine('value is not a string, number, boolean, null or list', line);
  return {
    process,
    type: type as HistoryEventType,
    op: op as HistoryOp,
    key,
    value: checked,
    time,
  };
}

type EventFields = Readonly<Partial<Record<keyof HistoryEvent, unknown>>>;

function parseObject(text: string, line: number): EventFields {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw badLine('the line is not JSON', line, cause);
  }
  if (typeof parsed !== 'object' || parsed === null) throw badLine('the line is no object', line);
  return parsed;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isMember(value: unknown, names: readonly string[]): value is string {
  return typeof value === 'string' && names.includes(value);
}

function isHistoryValue(value: unknown): value is HistoryValue {
  if (Array.isArray(value)) return value.every(isHistoryValue);
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}

function badLine(reason: string, line: number, cause?: unknown): ClustorError {
  return new ClustorError('CLUSTOR_INVALID_ARGUMENT', `history line ${line}: ${reason}`, {
    cause,
    details: { line },
  });
}

function badHistory(message: string, event: number): ClustorError {
  return new ClustorError('CLUSTOR_INVALID_ARGUMENT', message, { details: { event } });
}
