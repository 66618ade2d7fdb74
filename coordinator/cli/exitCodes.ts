import type {Problem} from '../../shared/errors.js';

/** How the command ends; fixed, and told in `tenfold --help`. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unavailable: 4,
  jobFailed: 5,
  denied: 6,
  interrupted: 130,
  terminated: 143,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export function exitCodeOf(problem: Problem): ExitCode {
  switch (problem.kind) {
    case 'invalid':
      return EXIT.usage;
    case 'notFound':
      return EXIT.notFound;
    case 'unavailable':
    case 'timeout':
      return EXIT.unavailable;
    case 'denied':
      return EXIT.denied;
    default:
      return EXIT.failed;
  }
}
