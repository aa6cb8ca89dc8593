/**
 * BLAKE3 by a WebAssembly module for what is short, and by a native one, where it is installed, for what is long: a call into
 * it costs more than hashing a few hundred bytes does. Both give the same bytes.
 *
 * Modules load asynchronously and hashing is not: whoever may meet a leaf by BLAKE3 awaits {@link loadBlake3} first.
 */
import { assert } from '../base/assert.ts';

/** From this length on the native implementation is the faster one, bytes (`npm run bench:leaves`). */
const nativeBytesMin = 2048;

interface Implementation {
  readonly short: (bytes: Uint8Array) => Uint8Array;
  readonly long: (bytes: Uint8Array) => Uint8Array;
  readonly isNative: boolean;
}

let loaded: Implementation | undefined;
let loading: Promise<Implementation> | undefined;

/** Loads the implementations once; resolves with whether the native one is among them. */
export async function loadBlake3(): Promise<boolean> {
  loading ??= load();
  loaded = await loading;
  return loaded.isNative;
}

/** The hash of some bytes: 32 bytes. {@link loadBlake3} comes first. */
export function blake3(bytes: Uint8Array): Uint8Array {
  assert(loaded !== undefined, 'BLAKE3 is loaded before it is used');
  return bytes.length < nativeBytesMin ? loaded.short(bytes) : loaded.long(bytes);
}

async function load(): Promise<Implementation> {
  const { createBLAKE3 } = await import('./blake3-wasm.ts');
  const hasher = await createBLAKE3();
  const short = (bytes: Uint8Array): Uint8Array =>
    hasher.init().update(bytes).digest('binary').slice();
  const native = await import('@napi-rs/blake-hash').catch(() => undefined);
  if (native === undefined) return { short, long: short, isNative: false };
  const long = (bytes: Uint8Array): Uint8Array =>
    native.blake3(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  return { short, long, isNative: true };
}
