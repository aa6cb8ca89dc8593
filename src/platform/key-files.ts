/**
 * KEKs in a file of their own, or in an environment variable.
 *
 * ```
 * file      {"format":1,"keys":[{"id":"kek-2","key":"64 hexadecimal digits"},{"id":"kek-1","key":"…"}]}
 * variable  kek-2:64 hexadecimal digits,kek-1:…
 * ```
 * The first key wraps; the others are kept for what was wrapped with them. A file that its group or others can read is refused.
 */
import { link, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hexDecode, hexEncode } from '../base/bytes.ts';
import { ClustorError, messageOf } from '../base/errors.ts';
import { cipherKeyBytes } from '../ports/cryptography.ts';
import type { KeyProvider } from '../ports/key-provider.ts';
import { LocalKeyProvider } from '../security/local-key-provider.ts';
import { nodeCryptography } from '../security/node-cryptography.ts';
import { nodeEntropy } from './node-entropy.ts';

/** A provider over the KEKs of a file. @throws ClustorError `CLUSTOR_KEY_MISSING`, `CLUSTOR_KEY_UNSAFE`, `CLUSTOR_INVALID_ARGUMENT`. @public */
export async function openKeyFile(path: string): Promise<KeyProvider> {
  let text: string;
  try {
    const { mode } = await stat(path);
    if (process.platform !== 'win32' && (mode & 0o077) !== 0)
      throw new ClustorError(
        'CLUSTOR_KEY_UNSAFE',
        `${path} has mode ${(mode & 0o777).toString(8)}, so others than its owner can use it`,
      );
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof ClustorError) throw error;
    throw new ClustorError(
      'CLUSTOR_KEY_MISSING',
      `the key file ${path} cannot be read: ${messageOf(error)}`,
      { cause: error },
    );
  }
  return provider(`file ${path}`, keysOfText(text, path));
}

/** A provider over the KEKs of an environment variable. @throws ClustorError `CLUSTOR_KEY_MISSING`, `CLUSTOR_INVALID_ARGUMENT`. @public */
export function openKeyVariable(name: string): KeyProvider {
  const text = process.env[name];
  if (text === undefined || text.trim() === '')
    throw new ClustorError('CLUSTOR_KEY_MISSING', `the environment variable ${name} is not set`);
  const rows = text.split(',').map((row) => {
    const colon = row.lastIndexOf(':');
    return { id: row.slice(0, Math.max(0, colon)).trim(), key: row.slice(colon + 1).trim() };
  });
  return provider(`environment variable ${name}`, rows);
}

/** Writes a file with one new KEK, readable for its owner alone; an existing file stays as it is. @public */
export async function createKeyFile(path: string): Promise<void> {
  const key = hexEncode(nodeEntropy.bytes(cipherKeyBytes));
  const content = { format: 1, keys: [{ id: `kek-${hexEncode(nodeEntropy.bytes(4))}`, key }] };
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  await writeFile(temporary, `${JSON.stringify(content, undefined, 2)}\n`, {
    mode: 0o600,
    flush: true,
  });
  // What is wrapped with a key that a power loss takes away is lost: the name is durable before anybody uses it.
  await link(temporary, path);
  await rm(temporary);
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

interface KeyRow {
  readonly id: string;
  readonly key: string;
}

function keysOfText(text: string, path: string): readonly KeyRow[] {
  const broken = (cause?: unknown): ClustorError =>
    new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `the key file ${path} is not {"format":1,"keys":[{"id","key"}]}`,
      { cause },
    );
  let parsed: { readonly format?: unknown; readonly keys?: unknown };
  try {
    parsed = JSON.parse(text) as typeof parsed;
  } catch (error) {
    throw broken(error);
  }
  const isRow = (row: unknown): row is KeyRow =>
    typeof row === 'object' &&
    row !== null &&
    typeof (row as Partial<KeyRow>).id === 'string' &&
    typeof (row as Partial<KeyRow>).key === 'string';
  const { format, keys } = parsed ?? {};
  if (format !== 1 || !Array.isArray(keys) || !keys.every(isRow)) throw broken();
  return keys;
}

function provider(name: string, rows: readonly KeyRow[]): KeyProvider {
  const keks = new Map<string, Uint8Array>();
  for (const { id, key } of rows) {
    const bytes = hexDecode(key);
    if (id === '' || bytes === undefined || keks.has(id))
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `key "${id}" of ${name} needs an id of its own and ${2 * cipherKeyBytes} hexadecimal digits`,
      );
    keks.set(id, bytes);
  }
  return new LocalKeyProvider({ name, keks, cryptography: nodeCryptography, entropy: nodeEntropy });
}
