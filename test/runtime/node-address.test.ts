import { expect, test } from 'vitest';

import { parseAddress } from '../../src/runtime/node-address.ts';

test('an address is a host and a port in digits', () => {
  expect(parseAddress('127.0.0.1:7400')).toEqual({ host: '127.0.0.1', port: 7400 });
  expect(parseAddress('[::1]:0')).toEqual({ host: '::1', port: 0 });
  expect(parseAddress('db1.example:65535')).toEqual({ host: 'db1.example', port: 65_535 });
});

test.each([
  '',
  'db1',
  'db1:',
  ':1',
  '[:1',
  '[]:1',
  'db1: 1',
  'db1:1.0',
  'db1:1e3',
  'db1:0x10',
  'db1:-1',
  'db1:65536',
])('"%s" is no address', (text) => {
  expect(() => parseAddress(text)).toThrow(
    expect.objectContaining({ code: 'CLUSTOR_INVALID_ARGUMENT' }) as Error,
  );
});
