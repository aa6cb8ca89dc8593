/** Where the key-encryption key of a node is: options of commands, or the field `encryption` of its configuration. */
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { ClustorError } from '../base/errors.ts';
import { openKeyFile, openKeyVariable, openVaultKey, type KeyProvider } from '../index.ts';

/** Options of the command line. */
export interface KeyOptions {
  readonly kekFile?: string;
  readonly kekEnv?: string;
  readonly vaultAddress?: string;
  readonly vaultKey?: string;
  readonly vaultMount?: string;
  readonly vaultNamespace?: string;
  readonly vaultTokenFile?: string;
  readonly vaultAuthority?: string;
}

/** The field `encryption` of a node's configuration: one of the three. */
export interface KeyConfig {
  readonly kekFile?: string;
  readonly kekEnvironment?: string;
  readonly vault?: {
    readonly address: string;
    readonly key: string;
    readonly mount?: string;
    readonly namespace?: string;
    readonly tokenFile: string;
    readonly authorityFile?: string;
  };
  /** Age in days at which keys are made anew by themselves; `never` leaves it to operators. @defaultValue 7 */
  readonly rotateAfterDays?: number | 'never';
}

const dayMs = 24 * 60 * 60 * 1000;

/** The schedule that a configuration asks for, if any. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
export function rotateAfterMsOf(config: KeyConfig | undefined): {
  readonly rotateAfterMs?: number | 'never';
} {
  const days: unknown = config?.rotateAfterDays;
  if (days === undefined) return {};
  if (days === 'never') return { rotateAfterMs: days };
  if (typeof days !== 'number' || !(days >= 1 && days <= rotateAfterDaysMax))
    throw wrong(
      `"encryption.rotateAfterDays" is a number of days from 1 to ${rotateAfterDaysMax}, or "never"`,
    );
  return { rotateAfterMs: Math.round(days * dayMs) };
}

const scheduleName: keyof KeyConfig = 'rotateAfterDays';
/** Longer is meant as `never`. */
const rotateAfterDaysMax = 3_650;

/** Adds the options to a command. */
export function withKeyOptions(command: Command): Command {
  return command
    .option('--kek-file <file>', 'file with the key-encryption key (KEK)')
    .option('--kek-env <name>', 'environment variable with the KEK')
    .option('--vault-address <url>', 'Vault whose transit engine has the KEK')
    .option('--vault-key <name>', 'name of the transit key')
    .option('--vault-mount <path>', 'where the transit engine is mounted (default: transit)')
    .option('--vault-namespace <name>', 'Vault Enterprise namespace')
    .option('--vault-token-file <file>', 'file with the Vault token')
    .option('--vault-authority <file>', "PEM file of the authority of Vault's certificate");
}

/** The provider that the options name, else the one that the configuration names, if any. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`, or of the provider. */
export async function keyProviderOf(
  options: KeyOptions,
  config?: { readonly encryption: KeyConfig | undefined; readonly path: string },
): Promise<KeyProvider | undefined> {
  const named = configOf(options);
  if (named !== undefined) return provider(named, '.');
  const { encryption, path = '.' } = config ?? {};
  // A schedule alone names no place: that of the KEK is then an option, or there is none.
  const isSchedule = (names: readonly string[]): boolean =>
    names.length === 1 && names[0] === scheduleName;
  if (encryption === undefined || isSchedule(Object.keys(encryption))) return undefined;
  return provider(encryption, dirname(resolve(path)));
}

/** Whether the options name a key. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` where they do so by halves. */
export function isKeyNamed(options: KeyOptions): boolean {
  return configOf(options) !== undefined;
}

function configOf(options: KeyOptions): KeyConfig | undefined {
  const { kekFile, kekEnv: kekEnvironment, vaultAddress: address, vaultKey: key } = options;
  const { vaultTokenFile: tokenFile } = options;
  const vault = [address, key, tokenFile];
  if (vault.every((value) => value === undefined)) {
    if (kekFile === undefined && kekEnvironment === undefined) return undefined;
    return {
      ...(kekFile === undefined ? {} : { kekFile }),
      ...(kekEnvironment === undefined ? {} : { kekEnvironment }),
    };
  }
  if (address === undefined || key === undefined || tokenFile === undefined)
    throw wrong('--vault-address, --vault-key and --vault-token-file go together');
  if (kekFile !== undefined || kekEnvironment !== undefined) throw oneOf();
  const { vaultMount: mount, vaultNamespace: namespace, vaultAuthority: authorityFile } = options;
  return {
    vault: {
      address,
      key,
      tokenFile,
      ...(mount === undefined ? {} : { mount }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(authorityFile === undefined ? {} : { authorityFile }),
    },
  };
}

async function provider(config: KeyConfig, base: string): Promise<KeyProvider> {
  const { kekFile, kekEnvironment, vault } = config;
  const named = [kekFile, kekEnvironment, vault].filter((value) => value !== undefined);
  if (named.length !== 1) throw oneOf();
  if (kekFile !== undefined) return openKeyFile(resolve(base, kekFile));
  if (kekEnvironment !== undefined) return openKeyVariable(kekEnvironment);
  if (vault === undefined) throw oneOf();
  const { tokenFile, authorityFile, ...rest } = vault;
  return openVaultKey({
    ...rest,
    tokenFile: resolve(base, tokenFile),
    ...(authorityFile === undefined ? {} : { authorityFile: resolve(base, authorityFile) }),
  });
}

function oneOf(): ClustorError {
  return wrong('name one place of the KEK: a file, an environment variable or Vault');
}

function wrong(message: string): ClustorError {
  return new ClustorError('CLUSTOR_INVALID_ARGUMENT', message);
}
