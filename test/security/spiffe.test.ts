import { describe, expect, test } from 'vitest';

import { clusterId, nodeId } from '../../src/base/ids.ts';
import { clientSpiffeId, nodeSpiffeId, parseSpiffeId } from '../../src/security/spiffe.ts';

const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');

describe('SPIFFE ids', () => {
  test('a node id is read back as it was written', () => {
    for (const id of [0, 1, 42, Number.MAX_SAFE_INTEGER]) {
      const spiffeId = nodeSpiffeId(cluster, nodeId(id));
      const identity = { kind: 'node', clusterId: cluster, nodeId: id, spiffeId };

      expect(parseSpiffeId(spiffeId)).toEqual(identity);
    }
  });

  test('a client id is read back as it was written', () => {
    for (const role of ['client', 'operator', 'observer'] as const) {
      const name = 'web-1.shop_eu';
      const spiffeId = clientSpiffeId(cluster, role, name);
      const identity = { kind: 'client', clusterId: cluster, role, name, spiffeId };

      expect(parseSpiffeId(spiffeId)).toEqual(identity);
    }
  });

  test('an identity has exactly one spelling', () => {
    const node = `spiffe://clustor/${cluster}/node`;
    const client = `spiffe://clustor/${cluster}/client`;
    const wrong = [
      '',
      'spiffe://clustor',
      `${node}/`,
      `${node}/01`,
      `${node}/-1`,
      `${node}/1.0`,
      `${node}/1/`,
      `${node}/1?x`,
      `${node}/1#x`,
      `${node}/1\n`,
      `${node}/ 1`,
      `${node}/9007199254740992`,
      `${node}/99999999999999999999`,
      `${node}/%31`,
      `x${node}/1`,
      `SPIFFE://clustor/${cluster}/node/1`,
      `spiffe://Clustor/${cluster}/node/1`,
      `spiffe://clustor.example/${cluster}/node/1`,
      `spiffe://clustor:443/${cluster}/node/1`,
      `spiffe://clustor/${cluster.toUpperCase()}/node/1`,
      `spiffe://clustor/${cluster.slice(1)}/node/1`,
      `spiffe://clustor//${cluster}/node/1`,
      `${client}/client`,
      `${client}/client/`,
      `${client}/root/name`,
      `${client}/client/Name`,
      `${client}/client/a/b`,
      `${client}/client/.`,
      `${client}/client/..`,
      `${client}/client/${'a'.repeat(65)}`,
    ];

    expect(wrong.filter((uri) => parseSpiffeId(uri) !== undefined)).toEqual([]);
  });

  test('a client name outside the alphabet is an invalid argument', () => {
    for (const name of ['', 'A', 'a b', 'a/b', '.', '..', 'ü', 'a'.repeat(65)]) {
      expect(() => clientSpiffeId(cluster, 'client', name)).toThrow(
        expect.objectContaining({ code: 'CLUSTOR_INVALID_ARGUMENT' }),
      );
    }
  });
});
