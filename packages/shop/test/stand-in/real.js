/** Opens the real shop as a supervisor does, and ends with the test that wanted it. */
process.once('disconnect', () => process.exit(1));
await import('../../dist/main.js');
