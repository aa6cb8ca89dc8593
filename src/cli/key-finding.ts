/** Whether the keys of a data directory open with the key-encryption key that a node would be given. */
import { ClustorError, isClustorError } from '../base/errors.ts';
import { clusterId, nodeId } from '../base/ids.ts';
import { journalEncryption } from '../open-node.ts';
import { nodeEntropy } from '../platform/node-entropy.ts';
import { openNodeFileSystem } from '../platform/node-file-system.ts';
import type { DiskFinding } from '../policy/disk-hygiene.ts';
import { cipherKeyBytes, isEqualSecret } from '../ports/cryptography.ts';
import type { KeyContext, KeyProvider } from '../ports/key-provider.ts';
import { JournalKeys } from '../storage/journal-keys.ts';
import { walFolder } from '../storage/recovery.ts';
import { keyProviderOf, type KeyOptions } from './key-options.ts';
import type { NodeConfig } from './node-config.ts';

/** Whose keys they are. */
export interface KeyOwner extends Pick<NodeConfig, 'clusterId' | 'nodeId' | 'dataDirectory'> {
  readonly encryption?: NodeConfig['encryption'] | undefined;
}

/** Tries the keys as a node that starts does; nothing is written. */
export async function keyFinding(
  config: KeyOwner,
  { path, options }: { readonly path: string; readonly options: KeyOptions },
): Promise<DiskFinding> {
  const fileSystem = await openNodeFileSystem({ mode: 'Blocking' });
  try {
    const provider = await keyProviderOf(options, { encryption: config.encryption, path });
    const keys = await JournalKeys.open({
      fileSystem,
      folder: walFolder(config.dataDirectory),
      clusterId: clusterId(config.clusterId),
      nodeId: nodeId(config.nodeId),
      encryption: journalEncryption(
        provider === undefined ? 'none' : { keyProvider: provider, rotateAfterMs: 'never' },
      ),
    });
    const epoch = keys.ring?.newestEpoch;
    keys.close();
    // Without keys there was nothing to ask the provider for.
    if (provider !== undefined && epoch === undefined) await tryProvider(provider, config);
    if (provider === undefined)
      return {
        finding: 'Keys',
        verdict: 'Warn',
        text: 'nothing is encrypted, and no key is named',
        advice: 'Name a key-encryption key as docs/guide/encryption.md says, or leave it so.',
      };
    const text =
      epoch === undefined
        ? 'the key can be had; the next start makes keys under it'
        : `the keys open, up to epoch ${epoch}`;
    return { finding: 'Keys', verdict: 'Allow', text, advice: 'Nothing to do.' };
  } catch (error) {
    if (!isClustorError(error)) throw error;
    return {
      finding: 'Keys',
      verdict: 'Reject',
      text: `the keys do not open: ${error.message}`,
      advice:
        'Name the right key-encryption key, in the configuration or as the options of `clustor node` do; without it no entry can be read.',
    };
  } finally {
    await fileSystem.shutDown();
  }
}

/** Has a key of no use wrapped, and gets it back. @throws ClustorError of the provider. */
async function tryProvider(
  provider: KeyProvider,
  owner: Pick<KeyOwner, 'clusterId' | 'nodeId'>,
): Promise<void> {
  const plain = nodeEntropy.bytes(cipherKeyBytes);
  const context: KeyContext = {
    clusterId: clusterId(owner.clusterId),
    nodeId: nodeId(owner.nodeId),
    epoch: 0,
    purpose: 'journalData',
  };
  const back = await provider.unwrap(await provider.wrap(plain, context), context);
  if (isEqualSecret(back, plain)) return;
  throw new ClustorError('CLUSTOR_KEY_WRONG', `${provider.name} gives another key back`);
}
