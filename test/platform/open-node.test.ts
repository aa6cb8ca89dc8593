/** What a node is refused before anything is opened for it; what is open would keep its process alive. */
import { expect, test } from 'vitest';

import { openNode } from '../../src/open-node.ts';

test.each([
  ['listen', { listen: '127.0.0.1:70000' }, '127.0.0.1:70000'],
  ['listen', { listen: 'nonsense' }, 'nonsense'],
  ['advertise', { advertise: 'nonsense' }, 'nonsense'],
  ['advertise', { advertise: '10.0.0.1:0' }, '10.0.0.1:0'],
])(
  '%s that is no address is refused before certificates are read',
  async (_name, changes, text) => {
    const opening = openNode({
      directory: '/nowhere',
      clusterId: '018c0d6c-9c11-7e9d-8000-86f5bb8c0001',
      nodeId: 1,
      listen: '127.0.0.1:7400',
      certificates: { certificateFile: 'none', privateKeyFile: 'none', trustBundleFile: 'none' },
      createStateMachine: () => {
        throw new Error('never made');
      },
      ...changes,
    });

    await expect(opening).rejects.toMatchObject({
      code: 'CLUSTOR_INVALID_ARGUMENT',
      message: expect.stringContaining(`"${text}"`),
    });
  },
);
