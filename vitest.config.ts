import {defineConfig} from 'vitest/config';

/**
 * Three projects: `unit` (beside the code, no process, no network), `integration` (real etcd, gRPC and trainer processes; one file at a time,
 * since two cores cannot train twice at once), `long` (soaks and simulations of hours; not part of `npm test`).
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'shared/**/*.test.ts',
            'coordinator/**/*.test.ts',
            'agent/**/*.test.ts',
            'deploy/**/*.test.ts',
            'test/scripts/**/*.test.ts',
            'test/sim/**/*.test.ts',
            'test/house/**/*.test.ts',
          ],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts', 'test/e2e/**/*.test.ts', 'test/faults/**/*.test.ts'],
          testTimeout: 240_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {test: {name: 'long', include: ['test/long/**/*.test.ts'], testTimeout: 3_600_000, hookTimeout: 120_000, fileParallelism: false}},
    ],
  },
});
