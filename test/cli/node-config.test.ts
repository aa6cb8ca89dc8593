/** The file of `clustor node`: what it lacks or has wrong is said by name. */
import { expect, test } from 'vitest';

import { isClustorError } from '../../src/base/errors.ts';
import { configOf } from '../../src/cli/node-config.ts';

const whole = {
  clusterId: '018c0d6c-9c11-7e9d-8000-86f5bb8c0001',
  nodeId: 1,
  listen: '127.0.0.1:7400',
  dataDirectory: 'data',
  certificates: { certificateFile: 'c.pem', privateKeyFile: 'k.pem', trustBundleFile: 't.pem' },
};

function refusalOf(config: unknown): string {
  try {
    configOf(JSON.stringify(config), '/etc/clustor/node.json');
  } catch (error) {
    if (isClustorError(error, 'CLUSTOR_INVALID_ARGUMENT')) return error.message;
    throw error;
  }
  return 'none';
}

function productOf(product: string): string | undefined {
  return configOf(JSON.stringify({ ...whole, product }), '/etc/clustor/node.json').product;
}

test('paths of a configuration begin at its own folder', () => {
  const { dataDirectory, certificates } = configOf(JSON.stringify(whole), '/etc/clustor/node.json');

  expect(productOf('./product.mjs')).toBe('/etc/clustor/product.mjs');
  expect(productOf('../product.mjs')).toBe('/etc/product.mjs');
  expect(productOf('/srv/product.mjs')).toBe('/srv/product.mjs');
  expect(productOf('a-package')).toBe('a-package');
  expect(dataDirectory).toBe('/etc/clustor/data');
  expect(certificates.privateKeyFile).toBe('/etc/clustor/k.pem');
});

test.each([
  ['null', null, 'lacks "clusterId"'],
  ['a list', [], 'lacks "clusterId"'],
  ['a field that is null', { ...whole, listen: null }, 'lacks "listen"'],
  ['a text as node id', { ...whole, nodeId: '1' }, 'needs a number as "nodeId"'],
  ['a node id that was rounded', { ...whole, nodeId: 2 ** 53 }, 'needs a whole number above 0'],
  ['a node id of clients', { ...whole, nodeId: 0 }, 'needs a whole number above 0'],
  ['a number as directory', { ...whole, dataDirectory: 5 }, 'needs a string as "dataDirectory"'],
  ['no certificates', { ...whole, certificates: {} }, 'lacks "certificates.certificateFile"'],
  ['a word for certificates', { ...whole, certificates: 'x' }, 'needs an object as "certificates"'],
  [
    'a number as a certificate',
    { ...whole, certificates: { ...whole.certificates, privateKeyFile: 1 } },
    'needs a string as "certificates.privateKeyFile"',
  ],
  [
    'a field of encryption by another name',
    { ...whole, encyption: {} },
    'unknown field "encyption"',
  ],
  ['an unknown limit', { ...whole, limits: { bogus: 1 } }, 'unknown field "limits.bogus"'],
  ['an unknown bound', { ...whole, storage: { bogus: 1 } }, 'unknown field "storage.bogus"'],
  ['an unknown setting', { ...whole, raft: { bogus: 1 } }, 'unknown field "raft.bogus"'],
  [
    'a limit that is a text',
    { ...whole, limits: { readsMax: '9' } },
    'number as "limits.readsMax"',
  ],
  ['raft that is a list', { ...whole, raft: [1] }, 'needs an object as "raft"'],
  ['a word for a flag', { ...whole, development: 'yes' }, 'needs true or false as "development"'],
  [
    'a flag for leaves',
    { ...whole, merkleLeaves: true },
    'needs sha256, blake3 or none as "merkleLeaves"',
  ],
  ['an address without a port', { ...whole, listen: 'here' }, 'wrong "listen"'],
  ['an advertised nonsense', { ...whole, advertise: 'nonsense' }, 'wrong "advertise"'],
  ['an advertised host with a space', { ...whole, advertise: 'a b:1' }, '"advertise"'],
  ['a cluster id that is none', { ...whole, clusterId: 'x' }, 'wrong "clusterId"'],
  ['a product that is no text', { ...whole, product: 5 }, 'needs a string as "product"'],
  ['a port that is a text', { ...whole, productPort: 'abc' }, 'as "productPort"'],
  ['a port beyond all', { ...whole, productPort: 99_999 }, 'as "productPort"'],
  ['no encryption by null', { ...whole, encryption: null }, 'needs an object as "encryption"'],
  [
    'a number as a file',
    { ...whole, encryption: { kekFile: 5 } },
    'string as "encryption.kekFile"',
  ],
  [
    'an unknown field of encryption',
    { ...whole, encryption: { kekfile: 'a' } },
    'unknown field "encryption.kekfile"',
  ],
  ['half a Vault', { ...whole, encryption: { vault: {} } }, 'lacks "encryption.vault.address"'],
  ['a schedule of words', { ...whole, encryption: { rotateAfterDays: 'x' } }, 'rotateAfterDays'],
])('%s is refused, and the field named', (_name, config, problem) => {
  expect(refusalOf(config)).toContain(problem);
});

test('every field that there is may be given', () => {
  const config = {
    ...whole,
    advertise: '10.0.0.1:7400',
    development: true,
    product: 'a-package',
    productPort: 7379,
    limits: { readsMax: 9 },
    storage: { segmentBytes: 8_388_608 },
    raft: { leaseMs: 5 },
    encryption: { kekFile: 'kek.json', rotateAfterDays: 'never' },
    merkleLeaves: 'blake3',
  };

  expect(refusalOf(config)).toBe('none');
});
