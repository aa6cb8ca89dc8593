/** Judges the text of a history file and puts the verdict into words. */
import { isClustorError } from '../base/errors.ts';
import { unreachable } from '../base/assert.ts';
import {
  pairHistory,
  parseHistory,
  type HistoryInput,
  type HistoryOperation,
  type HistoryValue,
  type PairedHistory,
} from './history.ts';
import {
  checkOperations,
  type LinearizabilityVerdict,
  type LinearizabilityViolation,
} from './linearizability.ts';
import { counterModel, createAppendModel, registerModel } from './linearizability-models.ts';

/** Which sequential object the keys of a history are. @public */
export type HistoryModelName = 'register' | 'counter' | 'append';

/** Options of {@link judgeHistoryFile}. @public */
export interface JudgeHistoryOptions {
  /** @defaultValue `append` if the history has an append, else `register` */
  readonly model?: HistoryModelName;
  /** See `LinearizabilityOptions`. */
  readonly stepsMax?: number;
  /** See `LinearizabilityOptions`. */
  readonly timeMaxMs?: number;
  /** See `LinearizabilityOptions`. */
  readonly nowMs?: () => number;
}

/** The verdict on a history file, ready for JSON. @public */
export interface HistoryReport {
  /** `invalid`: the text is no history. */
  readonly verdict: 'linearizable' | 'violation' | 'undecided' | 'invalid';
  /** Distinct keys among the operations that happened or may have. */
  readonly keys: number;
  /** Operations that surely happened. */
  readonly ok: number;
  /** Operations that surely did not happen. */
  readonly fail: number;
  /** Operations with unknown outcome. */
  readonly info: number;
  /** Steps that the search took. */
  readonly steps: number;
  /** The verdict in words, several lines for a violation. */
  readonly text: string;
}

/** How many operations of a prefix a report shows. */
const prefixShownMax = 8;
/** How many operations without a place a report shows. */
const unplacedShownMax = 16;

/** Judges the text of a history file (JSON lines). Never throws for what the text holds. @public */
export function judgeHistoryFile(text: string, options: JudgeHistoryOptions = {}): HistoryReport {
  try {
    const history = pairHistory(parseHistory(text.split('\n')));
    return reportOf(history, judge(history.operations, options));
  } catch (error) {
    if (!isClustorError(error, 'CLUSTOR_INVALID_ARGUMENT')) throw error;
    return { verdict: 'invalid', keys: 0, ok: 0, fail: 0, info: 0, steps: 0, text: error.message };
  }
}

type Verdict = LinearizabilityVerdict<HistoryInput, HistoryValue>;

function judge(operations: readonly HistoryOperation[], options: JudgeHistoryOptions): Verdict {
  const { model, ...limits } = options;
  const hasAppend = operations.some((operation) => operation.input.op === 'append');
  const name = model ?? (hasAppend ? 'append' : 'register');
  switch (name) {
    case 'register':
      return checkOperations(operations, { ...limits, model: registerModel });
    case 'counter':
      return checkOperations(operations, { ...limits, model: counterModel });
    case 'append':
      return checkOperations(operations, { ...limits, model: createAppendModel() });
    default:
      return unreachable(name);
  }
}

function reportOf(history: PairedHistory, verdict: Verdict): HistoryReport {
  const keys = new Set(history.operations.map((operation) => operation.key)).size;
  return {
    verdict: verdict.kind,
    keys,
    ok: history.okCount,
    fail: history.failCount,
    info: history.infoCount,
    steps: verdict.steps,
    text: describeVerdict(verdict),
  };
}

/** A verdict in words. @public */
export function describeVerdict(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'linearizable':
      return `linearizable: ${verdict.orders.size} keys`;
    case 'undecided':
      return `undecided: the search hit its limit on ${verdict.keys.length} keys, first ${JSON.stringify(verdict.key)}`;
    case 'violation':
      return describeViolation(verdict);
    default:
      return unreachable(verdict);
  }
}

function describeViolation(
  violation: LinearizabilityViolation<HistoryInput, HistoryValue>,
): string {
  const { key, prefix, stateKey, operations } = violation;
  const shown = prefix.slice(-prefixShownMax);
  const lines = [`violation: key ${JSON.stringify(key)} is not linearizable`];
  lines.push(`  after ${prefix.length} operations in a legal order, the last of them:`);
  for (const operation of shown) lines.push(`    ${describeOperation(operation)}`);
  lines.push(
    `  the state is ${JSON.stringify(stateKey)}, and the first of these had to come by now but cannot:`,
  );
  for (const operation of operations.slice(0, unplacedShownMax)) {
    lines.push(`    ${describeOperation(operation)}`);
  }
  if (operations.length > unplacedShownMax) {
    lines.push(`    and ${operations.length - unplacedShownMax} more`);
  }
  return lines.join('\n');
}

function describeOperation(operation: HistoryOperation): string {
  const { process, input, output, calledNs, returnedNs } = operation;
  const result = output === undefined ? 'unknown' : JSON.stringify(output);
  const end = returnedNs === undefined ? 'open' : `${returnedNs}`;
  return `process ${process} ${input.op} ${JSON.stringify(input.value)} -> ${result} [${calledNs}..${end} ns]`;
}
