/** How mini programs of all houses tell that they go to the background and come back. */

export interface AppEvents {
  onAppHide?(listener: () => void): void
  onAppShow?(listener: () => void): void
  offAppHide?(listener: () => void): void
  offAppShow?(listener: () => void): void
}

export function watchApp(app: AppEvents, listener: (visible: boolean) => void): () => void {
  const hide = () => listener(false)
  const show = () => listener(true)
  if (app.onAppHide) app.onAppHide(hide)
  if (app.onAppShow) app.onAppShow(show)
  return () => {
    if (app.offAppHide) app.offAppHide(hide)
    if (app.offAppShow) app.offAppShow(show)
  }
}
