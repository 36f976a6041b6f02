/** What all pages share. */

import { createStore, type Store } from './chat/store'

export interface Program {
  store: Store
  /** Whether this is a development or trial build, where the gateway's address can be set. */
  isDevelopment: boolean
}

App<Program>({
  store: createStore(wx),
  isDevelopment: wx.getAccountInfoSync().miniProgram.envVersion !== 'release',
})
