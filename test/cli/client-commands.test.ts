/** How long commands of a client take where nobody answers. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { beforeEach, expect, onTestFinished, test } from 'vitest';

import { runAppend, runRead, type AppendCommandOptions } from '../../src/cli/client-commands.ts';
import type { Output } from '../../src/cli/output.ts';
import { Certificates } from '../platform/tls-fixture.ts';

const output: Output = {
  isJson: true,
  result: () => undefined,
  note: () => undefined,
  progress: () => undefined,
  error: () => undefined,
};
/** A socket takes what it gets, and answers nothing. */
const silent = createServer((socket) => socket.on('error', () => undefined).resume());

let options: AppendCommandOptions;

beforeEach(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'clustor-client-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const certificates = await Certificates.create();
  const { certificatePem, privateKeyPem } = await certificates.client('a-client');
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void silent.close());
  options = {
    dir: folder,
    addresses: '127.0.0.1:1',
    certificate: file('certificate.pem', certificatePem),
    privateKey: file('private-key.pem', privateKeyPem),
    trustBundle: file('trust-bundle.pem', certificates.authority.certificatePem),
    deadlineMs: 300,
  };
});

test.each([
  { what: 'an append where nobody listens', run: runAppend, isListening: false },
  { what: 'an append where nobody answers', run: runAppend, isListening: true },
  { what: 'a read where nobody listens', run: runRead, isListening: false },
])('$what is given up at its deadline', async ({ run, isListening }) => {
  const { port } = silent.address() as AddressInfo;
  const addresses = isListening ? `127.0.0.1:${port}` : '127.0.0.1:1';
  const fromMs = performance.now();

  const running = run('a', { ...options, addresses }, output);

  await expect(running).rejects.toMatchObject({ outcome: 'surelyNot', retryable: true });
  expect(performance.now() - fromMs).toBeLessThan(5_000);
});
