/** Whether what the command line prints is coloured, and the colours. */
import { isatty } from 'node:tty';
import pc from 'picocolors';

/**
 * Colours are for people who look at a terminal. A pipe or a file gets plain text, in continuous integration as well, so that what is
 * printed can be searched; `NO_COLOR` turns colours off and `FORCE_COLOR` (but for `0`) turns them on everywhere else.
 */
export function wantsColours(
  env: Readonly<Record<string, string | undefined>>,
  isTerminal: boolean,
): boolean {
  const { NO_COLOR: never = '', FORCE_COLOR: always = '' } = env;
  if (never !== '') return false;
  if (always !== '') return always !== '0';
  return isTerminal && env['TERM'] !== 'dumb';
}

export const hasColours: boolean = wantsColours(process.env, isatty(process.stdout.fd));
export const colours: ReturnType<typeof pc.createColors> = pc.createColors(hasColours);
