/** The registry of a data directory says who its replicas are: what rotted in it is noticed. */
import { describe, expect, test } from 'vitest';

import { utf8Decode, utf8Encode } from '../../src/base/bytes.ts';
import { isClustorError } from '../../src/base/errors.ts';
import { clusterId, incarnation, nodeId, partitionId, replicaId } from '../../src/base/ids.ts';
import { registryBytes, registryOf, type NodeRegistry } from '../../src/storage/node-registry.ts';

const registry: NodeRegistry = {
  clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'),
  nodeId: nodeId(3),
  replicas: [
    {
      partitionId: partitionId('018c0d6c-9c11-7e9d-8000-000000000001'),
      replicaId: replicaId(7),
      incarnation: incarnation('018c0d6c-9c11-7e9d-8000-00000000abcd'),
    },
  ],
};

/** What the bytes are read as, or the code they are refused with. */
function readAs(bytes: Uint8Array): NodeRegistry | string {
  try {
    return registryOf(bytes, '/data');
  } catch (error) {
    if (isClustorError(error)) return error.code;
    throw error;
  }
}

describe('a registry', () => {
  test('with any one bit flipped says the same, or is refused', () => {
    const bytes = registryBytes(registry);
    const wrong: string[] = [];
    for (let at = 0; at < bytes.length * 8; at++) {
      const flipped = bytes.slice();
      flipped[at >> 3] = (flipped[at >> 3] ?? 0) ^ (1 << (at & 7));
      const read = readAs(flipped);
      const isRefused = read === 'CLUSTOR_INTEGRITY' || read === 'CLUSTOR_FORMAT_UNSUPPORTED';
      if (!isRefused && JSON.stringify(read) !== JSON.stringify(registry)) wrong.push(`bit ${at}`);
    }

    expect(wrong).toEqual([]);
  });

  test('of an earlier version, without a CRC, is read', () => {
    const { crc32c, ...older } = JSON.parse(utf8Decode(registryBytes(registry))) as Record<
      string,
      unknown
    >;

    expect(crc32c).toMatch(/^[0-9a-f]{8}$/);
    expect(readAs(utf8Encode(JSON.stringify(older)))).toEqual(registry);
  });
});
