// ---- loop: what is asked again and again, while the tab is seen

// run(), then again after pause() milliseconds, never two at once; soon() asks at once. What went
// wrong goes to failed(error, times), which may say how long to wait.
function loop(run, pause, isOn, failed) {
  let timer;
  let isRunning = false;
  let again = false;
  let failures = 0;
  const turn = async () => {
    clearTimeout(timer);
    if (isRunning) {
      again = true;
      return;
    }
    isRunning = true;
    again = false;
    let wait = 0;
    try {
      if (!document.hidden && isOn()) {
        await run();
        failures = 0;
      }
    } catch (error) {
      wait = failed(error, ++failures) ?? 0;
    }
    isRunning = false;
    timer = setTimeout(turn, again ? 0 : Math.max(wait, pause()));
  };
  turn();
  return { soon: turn };
}
