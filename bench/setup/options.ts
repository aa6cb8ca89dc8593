/** Command-line options of the benches: `--name value` numbers and lists, and bare `--name` switches. */
import { refuseArguments, toolArguments } from '../../scripts/tool-arguments.ts';

const usage =
  'options: [--json] [--rounds N] [--seconds S] [--outstanding 1,16,…] [--rate N] [--encryption on|off|both|control]';

const encryptions = ['on', 'off', 'both', 'control'] as const;
type Encryption = (typeof encryptions)[number];

/** What the benches may be given; each names the ones it reads in its essay. */
export interface BenchOptions {
  readonly isJson: boolean;
  readonly seconds: number;
  readonly rounds: number;
  readonly outstanding: readonly number[];
  readonly ratePerSecond: number | undefined;
  /** Whether data directories are encrypted; with `both`, clusters of each take turns, and with `control` two without. */
  readonly encryption: Encryption;
}

/** Reads the arguments of this process over the defaults of one bench. */
export function readOptions(
  defaults: Omit<BenchOptions, 'isJson' | 'ratePerSecond' | 'encryption'>,
): BenchOptions {
  const values = toolArguments(usage, {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string' },
    rounds: { type: 'string' },
    outstanding: { type: 'string' },
    rate: { type: 'string' },
    encryption: { type: 'string', default: 'on' },
  });
  const encryption = encryptions.find((word) => word === values.encryption);
  if (encryption === undefined)
    return refuseArguments(
      `--encryption takes ${encryptions.join(', ')}, got "${values.encryption}"`,
      usage,
    );
  return {
    encryption,
    isJson: values.json,
    seconds: positive('seconds', values.seconds) ?? defaults.seconds,
    rounds: positive('rounds', values.rounds) ?? defaults.rounds,
    outstanding:
      values.outstanding?.split(',').map((part) => positive('outstanding', part) ?? 1) ??
      defaults.outstanding,
    ratePerSecond: positive('rate', values.rate),
  };
}

function positive(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0)
    return refuseArguments(`--${name} takes numbers above 0, got "${text}"`, usage);
  return value;
}
