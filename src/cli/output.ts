/** What commands print: JSON lines for programs, tables and colours for people at a terminal. */
import Table from 'cli-table3';
import type { ClustorError } from '../base/errors.ts';
import { codedError } from './coded-error.ts';
import { colours, hasColours } from './colours.ts';

/** Where a command's result goes. */
export interface Output {
  readonly isJson: boolean;
  /** One JSON line with `--json`, otherwise the text. */
  result(value: object, text: string): void;
  /** Something on the way, for people only. */
  note(text: string): void;
  /** How far something has come: one line that rewrites itself at a terminal, a line per change of text elsewhere. */
  progress(text: string): void;
  /** An error: code, message, what to do. */
  error(error: unknown): void;
}

let isGone = false;

/**
 * Makes a reader that goes away (`| head -1`), or a log on a full disk, no reason to fail: what is written then is dropped.
 * Once for the process, before anything is written.
 */
export function outliveReaders(): void {
  process.stdout.on('error', () => {
    isGone = true;
  });
  process.stderr.on('error', () => undefined);
}

/** Whether nobody reads the results any more. */
export function isReaderGone(): boolean {
  return isGone;
}

/** Resolves when everything written so far has left the process, or nobody takes it. */
export async function flushOutput(): Promise<void> {
  for (const stream of [process.stdout, process.stderr])
    await new Promise<void>((resolve) => {
      stream.write('', () => {
        resolve();
      });
    });
}

/** Makes the output of a command. */
export function createOutput(isJson: boolean): Output {
  let shown = '';
  const isTerminal = process.stdout.isTTY;
  const endProgress = (): void => {
    if (shown !== '' && isTerminal) process.stdout.write('\r\x1b[K');
    shown = '';
  };
  return {
    isJson,
    progress: (text) => {
      if (isJson || text === shown) return;
      process.stdout.write(isTerminal ? `\r\x1b[K${text}` : `${text}\n`);
      shown = text;
    },
    result: (value, text) => {
      endProgress();
      process.stdout.write(`${isJson ? JSON.stringify(value) : text}\n`);
    },
    note: (text) => {
      endProgress();
      if (!isJson) process.stdout.write(`${text}\n`);
    },
    error: (error) => {
      endProgress();
      const coded = codedError(error);
      process.stderr.write(`${isJson ? JSON.stringify(errorRecord(coded)) : errorText(coded)}\n`);
    },
  };
}

/** Rows under a head, with borders only where they help. */
export function tableText(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string {
  const table = new Table({
    head: head.map((text) => colours.bold(text)),
    style: { head: [], border: hasColours ? ['gray'] : [] },
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
  });
  for (const row of rows) table.push([...row]);
  return table.toString();
}

function errorRecord(error: ClustorError): object {
  const { code, message, outcome, retryable, advice, details } = error;
  return { error: { code, message, outcome, retryable, advice, details } };
}

function errorText({ code, message, advice }: ClustorError): string {
  return `${colours.red('error')} ${colours.bold(code)} ${message}\n      ${colours.dim(advice)}`;
}
