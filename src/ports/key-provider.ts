/**
 * Where the key that wraps other keys (KEK) lives: a file, an environment variable, a key service. Clustor never keeps it: a
 * data directory holds wrapped keys only (specification §8.2).
 *
 * Contract for implementers:
 * - `unwrap` gives back exactly what was wrapped, and only for an equal context.
 * - A key or a context that does not fit is `CLUSTOR_KEY_WRONG`, a KEK that is not there `CLUSTOR_KEY_MISSING`, a service that
 *   does not answer `CLUSTOR_KEY_PROVIDER_UNAVAILABLE`; each message says which KEK was meant.
 */

/** What a wrapped key is for; authenticated with it, so that it cannot be put in another's place. @public */
export interface KeyContext {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly purpose: 'journalData' | 'journalMac';
  readonly epoch: number;
}

/** A key as it may be stored. @public */
export interface WrappedKey {
  /** Names the KEK. */
  readonly kekId: string;
  readonly bytes: Uint8Array;
}

/** See the file comment. @public */
export interface KeyProvider {
  /** For people: `file /etc/clustor/kek.json`. */
  readonly name: string;
  /** Wraps a key under the newest KEK. @throws ClustorError */
  wrap(plain: Uint8Array, context: KeyContext): Promise<WrappedKey>;
  /** @throws ClustorError */
  unwrap(wrapped: WrappedKey, context: KeyContext): Promise<Uint8Array>;
}

/** The bytes that a context is authenticated as: JSON with sorted names. */
export function keyContextText(context: KeyContext): string {
  return JSON.stringify({
    cluster: context.clusterId,
    epoch: context.epoch,
    label: 'clustor key v1',
    node: context.nodeId.toString(),
    purpose: context.purpose,
  });
}
