/**
 * Encryption of a simulated cluster: the real cipher, watched for nonces that come twice over all lives of all machines, and a
 * KEK for each node that is the same in all its lives.
 */
import { utf8Encode } from '../base/bytes.ts';
import type { NodeId } from '../base/ids.ts';
import type { Entropy } from '../ports/entropy.ts';
import { LocalKeyProvider } from '../security/local-key-provider.ts';
import { nodeCryptography } from '../security/node-cryptography.ts';
import type { JournalEncryption } from '../storage/key-ring.ts';
import { NonceWatch } from './nonce-watch.ts';

/** See the file comment. */
export class SimEncryption {
  readonly watch: NonceWatch;

  /** `reused` is told of a nonce that came twice. */
  constructor(reused: (message: string) => void) {
    this.watch = new NonceWatch(nodeCryptography, reused);
  }

  /** What one life of a node encrypts with. */
  of(nodeId: NodeId, entropy: Entropy): JournalEncryption {
    const cryptography = this.watch;
    const salt = utf8Encode(`kek of node ${nodeId}`);
    const kek = nodeCryptography.hkdfSha256({ key: salt, salt, info: salt });
    const keks = new Map([['kek-1', kek]]);
    const name = `the simulated KEK of node ${nodeId}`;
    return {
      cryptography,
      keyProvider: new LocalKeyProvider({ name, keks, cryptography, entropy }),
    };
  }
}
