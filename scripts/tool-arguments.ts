/**
 * Arguments of the project's own tools (simulator, chaos, benches): a wrong one is answered with what is wrong and how the tool
 * is used, and exit code 2, before anything is started.
 */
import { parseArgs, type ParseArgsConfig } from 'node:util';

/** The options that were given. `--help` prints `usage` and ends the process with 0, anything wrong ends it with 2. */
export function toolArguments<const Options extends NonNullable<ParseArgsConfig['options']>>(
  usage: string,
  options: Options,
): ReturnType<typeof parseArgs<{ options: Options }>>['values'] {
  if (process.argv.includes('--help')) {
    process.stdout.write(`${usage}\n`);
    process.exit(0);
  }
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return refuseArguments(error instanceof Error ? error.message : String(error), usage);
  }
}

/** Says what is wrong with an argument and ends the process with 2. */
export function refuseArguments(problem: string, usage: string): never {
  process.stderr.write(`${problem}\n\n${usage}\n`);
  process.exit(2);
}

/** A whole number above 0. */
export function wholeNumber(name: string, text: string, usage: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    return refuseArguments(`--${name} takes a whole number above 0, got "${text}"`, usage);
  return value;
}
