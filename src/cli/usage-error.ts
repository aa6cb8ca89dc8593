/** Wrong use of the command line as a coded error, for those who asked for JSON. */
import type { CommanderError } from 'commander';
import { ClustorError } from '../base/errors.ts';

/** Whether the words of a command line ask for JSON, also where they cannot be understood. */
export function isJsonAsked(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  return words.slice(0, end < 0 ? words.length : end).includes('--json');
}

/** What a parser of commands found wrong. */
export function usageError({ code, message }: CommanderError): ClustorError {
  const text = code.startsWith('commander.help')
    ? 'a command is missing; `clustor --help` shows all'
    : message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ');
  return new ClustorError('CLUSTOR_INVALID_ARGUMENT', text);
}
