/** The file of `clustor node`: what it lacks or has wrong is said by name. */
import { expect, test } from 'vitest';

import { isClustorError } from '../../src/base/errors.ts';
import { configOf } from '../../src/cli/node-command.ts';

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

test('paths of a configuration begin at its own folder', () => {
  const { dataDirectory, certificates } = configOf(JSON.stringify(whole), '/etc/clustor/node.json');

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
])('%s is refused, and the field named', (_name, config, problem) => {
  expect(refusalOf(config)).toContain(problem);
});
